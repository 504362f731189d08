"""`pneumo-monai status`: the ledger as a table or as JSON."""

import dataclasses
import json
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from pneumo_monai.overview import StudyOverview, open_records, overview
from pneumo_monai.settings import Settings

__all__ = ["print_status"]

_COLOURS = {
    "reported": "green",
    "failed": "red",
    "undeliverable": "red",
    "not committed": "red",
    "refused": "yellow",
    "retracted": "yellow",
}


def print_status(settings: Settings, *, limit: int, as_json: bool) -> None:
    """Print studies, newest first, and the counts of received objects by state."""
    records = open_records(settings)
    studies, counts = overview(records, limit), records.counts()
    if as_json:
        body = {
            "received": sum(counts.values()),
            "counts": counts,
            "studies": [dataclasses.asdict(study) | {"state": study.state} for study in studies],
        }
        print(json.dumps(body, indent=2))  # noqa: T201 - the command's output
        return
    console = Console()
    console.print(_table(studies))
    numbers = " + ".join(f"{number} {state}" for state, number in counts.items())
    console.print(f"{sum(counts.values())} received = {numbers}")


def _table(studies: list[StudyOverview]) -> Table:
    table = Table("Received", "Study Instance UID", "State", "Objects", "Revision", "Destinations, reasons")
    for study in studies:
        received = datetime.fromtimestamp(study.received_at, UTC).astimezone()
        table.add_row(
            f"{received:%Y-%m-%d %H:%M:%S}",
            study.study_instance_uid,
            f"[{_COLOURS.get(study.state, 'default')}]{study.state}[/]",
            str(len(study.films)),
            str(study.report.revision) if study.report else "",
            "\n".join([*study.whereabouts, *study.reasons]),
        )
    return table
