"""Tables in Markdown."""

from collections.abc import Iterable, Sequence

__all__ = ["contents", "table"]


def table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a table; pipes in a cell are escaped, columns that are empty in every row are left out.

    Returns
    -------
    str
        Lines without the last line's end; "None." where there are no rows.
    """
    cells = [[" ".join(str(cell).replace("|", "\\|").split()) for cell in row] for row in rows]
    if not cells:
        return "None."
    kept = [place for place in range(len(heading)) if any(row[place] for row in cells)]
    lines = [
        [heading[place] for place in kept],
        ["---"] * len(kept),
        *([row[place] for place in kept] for row in cells),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def contents(text: str) -> str:
    """Write a table of contents of a page's headings of the second and the third level, as links."""
    lines = []
    for line in text.splitlines():
        marks, _, title = line.partition(" ")
        if marks in {"##", "###"}:
            anchor = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_").replace(
                " ", "-"
            )
            lines.append(f"{'  ' * (len(marks) - 2)}- [{title}](#{anchor})")
    return "\n".join(lines)
