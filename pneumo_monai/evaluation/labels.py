"""A hospital's table of labels: which film or study is positive."""

import csv
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from pneumo_monai.errors import ConfigurationError

__all__ = ["KEYS", "Label", "Labels", "read_labels"]

KEYS = ("SOPInstanceUID", "file", "StudyInstanceUID", "AccessionNumber")
"""Columns that may say what a row is about; of several, the first of this order does."""

_OF_STUDIES = {"StudyInstanceUID", "AccessionNumber"}


@dataclass(frozen=True, kw_only=True)
class Label:
    """One row.

    Attributes
    ----------
    key : str
        Of the film or study.
    line : int
        In the file.
    target : int
        1: positive, 0: negative.
    person, klass : str
        Empty where the table does not say.
    """

    key: str
    line: int
    target: int
    person: str = ""
    klass: str = ""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The whole table.

    Attributes
    ----------
    file : Path
        It was read from.
    column : str
        Of `KEYS`: what rows are about.
    rows : dict of str to Label
        By key, in the order of the file.
    repeated : int
        Rows that say once more what another row says.
    """

    file: Path
    column: str
    rows: dict[str, Label]
    repeated: int

    @property
    def of_studies(self) -> bool:
        """Whether a row is about a study, not a film."""
        return self.column in _OF_STUDIES


def read_labels(file: Path) -> Labels:
    """Read the table; separated by comma, semicolon or tab, as its first line shows.

    Raises
    ------
    ConfigurationError
        It cannot be read, a column is missing, a label is neither 0 nor 1, or two rows contradict each other. The
        message names the line, never what stands in it.
    """
    header, lines = _table(file)
    column = next((key for key in KEYS if key.lower() in header), None)
    if column is None:
        raise ConfigurationError(
            f"--labels {file}: the first line names none of {', '.join(KEYS)}; name what rows are of"
        )
    if "label" not in header:
        raise ConfigurationError(f"--labels {file}: the column label is missing; it holds 1 (positive) or 0 (negative)")
    rows: dict[str, Label] = {}
    repeated = 0
    for number, cells in lines:
        row = dict(zip(header, (cell.strip() for cell in cells), strict=False))
        label = _label(file, number, row, column)
        known = rows.setdefault(label.key, label)
        if known.target != label.target:
            raise ConfigurationError(
                f"--labels {file}: lines {known.line} and {number} give one {column} two labels; keep the right one"
            )
        repeated += known is not label
    if not rows:
        raise ConfigurationError(f"--labels {file}: there is no row below the first line")
    return Labels(file=file, column=column, rows=rows, repeated=repeated)


def _table(file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the names of the columns in lower case, and the other rows with their line's number."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationError(
            f"--labels {file}: cannot be read ({error.strerror}); give an existing CSV file"
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"--labels {file}: is no text in UTF-8; save it as CSV in UTF-8") from None
    first = text.partition("\n")[0]
    reader = csv.reader(StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    try:
        rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise ConfigurationError(f"--labels {file}, line {reader.line_num}: is no CSV ({error})") from None
    header = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    return header, rows[1:]


def _label(file: Path, number: int, row: dict[str, str], column: str) -> Label:
    place = f"--labels {file}, line {number}"
    key, label = row.get(column.lower(), ""), row.get("label", "")
    if not key:
        raise ConfigurationError(f"{place}: {column} is empty; fill it in or remove the row")
    if label not in {"0", "1"}:
        raise ConfigurationError(f"{place}: label must be 0 or 1")
    return Label(key=key, line=number, target=int(label), person=row.get("person", ""), klass=row.get("class", ""))
