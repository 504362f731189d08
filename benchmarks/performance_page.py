"""The measured parts of docs/performance.md, and its plot, from docs/performance.json and docs/training.json."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

__all__ = ["read_measured", "rendered", "write_page"]

_PART = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_BLUE, _AMBER, _GREY = "#1f5a96", "#c8781e", "#8a8f98"
_Told = Mapping[str, Any]


def write_page(docs: Path) -> None:
    """Write what was measured into the page, and draw the plot beside it."""
    told = read_measured(docs)
    page = docs / "performance.md"
    page.write_text(rendered(page.read_text(encoding="utf-8"), told), encoding="utf-8")
    _draw(told, docs / "images" / "performance.svg")


def read_measured(docs: Path) -> dict[str, Any]:
    """Return what `benchmarks.performance` and, on films that are no part of the project, `benchmarks.loader` wrote."""
    told: dict[str, Any] = json.loads((docs / "performance.json").read_text(encoding="utf-8"))
    return {**told, "training": json.loads((docs / "training.json").read_text(encoding="utf-8"))}


def rendered(page: str, told: _Told) -> str:
    """Return the page with its measured parts replaced."""
    return _PART.sub(lambda part: f"{part[1]}{_PARTS[part[2]](told)}\n{part[3]}", page)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _headline(told: _Told) -> str:
    measured, ratios = told["medians"], told["ratios"]
    memory, ready, late = measured["memory_mib"], measured["seconds_until_ready"], measured["latency"]
    return _table(
        ["what", "measured", "aim"],
        [
            [
                "throughput, C-STORE to the SR stored in Orthanc",
                f"{measured['flood']['films_a_second']:.1f} films/s",
                "",
            ],
            ["the same, times the peer's", f"{ratios['throughput_over_peer']:.0f}", "60"],
            [
                "the same, share of bare forward passes in a lane for each core",
                f"{ratios['throughput_over_limit']:.0%}",
                "35 %",
            ],
            [
                "the same, share of bare forward passes one after the other",
                f"{measured['flood']['films_a_second'] / told['limit']['films_a_second_one_lane']:.0%}",
                "",
            ],
            *(
                [
                    f"latency at {share} of the throughput: p50, p95, p99",
                    " / ".join(f"{late[share][name]:.2f} s" for name in ("p50", "p95", "p99")),
                    "",
                ]
                for share in late
            ),
            [
                "the peer: a study, its memory",
                f"{measured['peer']['seconds']} s, {measured['peer']['memory_mib']:.0f} MiB",
                "",
            ],
            [
                "latency of a lone film, one part in ... of the peer's",
                f"{ratios['peer_over_latency']:.0f}",
                "16",
            ],
            ["memory of the worker", f"{memory['worker-0']:.0f} MiB", "1,200 MiB"],
            ["memory of the listener", f"{memory['listener']:.0f} MiB", "150 MiB"],
            ["the service answers C-STORE after", f"{ready['listener']:.1f} s", "1 s"],
            ["the worker is warm after", f"{ready['worker-0']:.1f} s", "6 s"],
        ],
    )


def _processes(told: _Told) -> str:
    used = told["medians"]["flood"]["processor_ms_a_film"]
    return _table(["process", "processor time a film, ms"], [*used.items(), ["all", round(sum(used.values()), 1)]])


def _stages(told: _Told) -> str:
    stages = told["stages"]
    named = {
        **stages["receive"],
        **stages["ledger"],
        **{f"graph: {name}": took for name, took in stages["read"].items()},
        **stages["deliver"],
    }
    return _table(["stage, alone", "ms, median"], named.items())


def _decode(told: _Told) -> str:
    table = told["stages"]["decode"]
    sizes = list(dict.fromkeys(size for row in table.values() for size in row))
    rows = [[syntax, *(row.get(size, "") for size in sizes)] for syntax, row in table.items()]
    return _table(["decode and window, ms", *sizes], rows)


def _inference(told: _Told) -> str:
    table = told["stages"]["inference"]
    batches = list(next(iter(table.values())))
    rows = [[engine, *(row[batch] for batch in batches)] for engine, row in table.items()]
    limit = told["limit"]
    return (
        _table(["classifier, ms a film", *batches], rows)
        + f"\n\nBare forward passes of the service's engine: {limit['films_a_second_one_lane']:.1f} films/s one after "
        f"the other, {limit['films_a_second']:.1f} in a lane for each core."
    )


def _forms(told: _Told) -> str:
    rows = [
        [row["form"], row["finding"], f"{row['bytes']:,}", f"{row['milliseconds']:.1f}"]
        for row in told["stages"]["forms"]
        if row["bytes"]
    ]
    return _table(["form", "finding", "bytes", "ms, median"], rows)


def _scaling(told: _Told) -> str:
    rows = [
        [
            row["ledger"],
            row["workers"],
            f"{row['films_a_second']:.1f}",
            f"{sum(row['processor_ms_a_film'].values()):.0f}",
            f"{row['workers_mib']:,} MiB",
        ]
        for row in told["scaling"]["rows"]
    ]
    return _table(
        ["ledger", "workers", "films/s", "processor time a film, ms, without the database's", "workers"], rows
    )


def _training(told: _Told) -> str:
    rows = [
        [
            f"{row['size']} x {row['size']}",
            row["precision"],
            f"{row['images_per_second']['in_memory']:.1f}",
            f"{row['images_per_second']['loader']:.1f}",
            f"{row['ratio']:.0%}",
        ]
        for row in told["training"]["measured"]
    ]
    return _table(["pixels", "precision", "the step alone, films/s", "fed by the loader, films/s", "of it"], rows)


def _machine(told: _Told) -> str:
    machine = told["machine"]
    return (
        f"{machine['processor']}, {machine['cores']} cores, no GPU; load before it began {machine['load'][0]}; "
        f"{len(told['rounds'])} rounds, {told['film']} of 1024 x 1024, JPEG; it took {told['seconds']} s."
    )


_PARTS: Mapping[str, Callable[[_Told], str]] = {
    "machine": _machine,
    "headline": _headline,
    "processes": _processes,
    "stages": _stages,
    "decode": _decode,
    "inference": _inference,
    "forms": _forms,
    "scaling": _scaling,
    "training": _training,
}


def _draw(told: _Told, file: Path) -> None:
    """Draw where the time of one film goes, and the rates side by side."""
    with rc_context(
        {"font.size": 9, "svg.hashsalt": "pneumo-monai", "axes.spines.top": False, "axes.spines.right": False}
    ):
        figure = Figure(figsize=(8.4, 3.6), layout="constrained")
        FigureCanvasSVG(figure)
        left, right = figure.subplots(1, 2, width_ratios=[3, 2])
        stages = told["stages"]
        took = {
            "receive": sum(stages["receive"].values()),
            **stages["read"],
            "deliver": stages["deliver"]["association, C-STORE, release"],
        }
        names = list(took)[::-1]
        bars = left.barh(names, [took[name] for name in names], color=_BLUE)
        left.bar_label(bars, fmt="%.1f", padding=3)
        left.set(xlabel="ms, each stage alone", title="One film")
        measured = told["medians"]
        rates = {
            "peer": 1.0 / measured["peer"]["seconds"],
            "service": measured["flood"]["films_a_second"],
            "forward passes\nalone": told["limit"]["films_a_second"],
        }
        bars = right.bar(list(rates), list(rates.values()), color=[_GREY, _AMBER, _BLUE])
        right.bar_label(bars, fmt="%.1f", padding=3)
        right.set(yscale="log", ylabel="films a second", title="Throughput, the same cores")
        file.parent.mkdir(exist_ok=True)
        figure.savefig(file, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    write_page(Path(__file__).parents[1] / "docs")
