"""A worker process with work of its own: writes down what it was asked, and can be killed in the middle.

`PATIENCE`: settings of `delivery`, as JSON. A file `NAME.down` in the folder: that destination cannot be reached.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from pneumo_monai.entries import (
    DeliveryRecord,
    DeliveryState,
    Errand,
    FilmAnswer,
    FilmState,
    OutcomeKind,
    ReportRecord,
    Revision,
)
from pneumo_monai.errors import DeliveryError
from pneumo_monai.forms import Form
from pneumo_monai.ledger import prepare, run_workflows
from pneumo_monai.priority import Priority
from pneumo_monai.records import Records
from pneumo_monai.sections import Delivery


def calls_of(folder: Path) -> list[str]:
    """Return the lines that were written down."""
    return (folder / "calls").read_text().splitlines()


class RecordingWork:
    """Answers each study, in a file for each call, as slowly as the environment asks."""

    destinations: Sequence[str] = ("good", "flaky", "picky")

    def __init__(self, records: Records, folder: Path) -> None:
        self.records = records
        self.folder = folder

    def note(self, line: str) -> None:
        with (self.folder / "calls").open("a") as stream:
            stream.write(line + "\n")

    def analyse(self, study: str, *, again: bool = False) -> tuple[int, list[str]] | None:
        self.note(f"begin {study}" + (" again" if again else ""))
        time.sleep(float(os.environ.get("ANALYSIS_SECONDS", "0")))
        films = self.records.films(study)
        fingerprint = ",".join(str(film.id) for film in films)
        answers = [FilmAnswer(film_id=film.id, state=FilmState.ANALYSED) for film in films]
        previous = self.records.latest_report(study)
        if previous is not None and previous.fingerprint == fingerprint:
            self.records.answer(answers)
        else:
            self.enter(study, answers, OutcomeKind.FINDINGS, fingerprint)
        self.note(f"end {study}")
        if os.environ.get("DIE_WHEN_ENTERED"):
            os._exit(9)
        return self.pending(study)

    def retract(self, study: str, revision: int, cause: str, why: str) -> tuple[int, list[str]] | None:
        self.note(f"retract {study} {revision} {cause} {why}")
        if not any(report.revision > revision for report in self.records.reports([study])):
            self.enter(study, [], OutcomeKind.RETRACTION, "retraction")
        return self.pending(study)

    def enter(self, study: str, answers: list[FilmAnswer], outcome: OutcomeKind, fingerprint: str) -> None:
        previous = self.records.latest_report(study)
        report = ReportRecord(
            study_instance_uid=study,
            revision=1 if previous is None else previous.revision + 1,
            fingerprint=fingerprint,
            outcome=outcome,
            created_at=time.time(),
        )
        deliveries = [
            DeliveryRecord(
                study_instance_uid=study,
                revision=report.revision,
                destination=destination,
                slot=0,
                alternatives=(Form.SR_COMPREHENSIVE_3D,),
                updated_at=report.created_at,
            )
            for destination in os.environ.get("DESTINATIONS", "good flaky").split()
        ]
        self.records.answer(answers, Revision(report=report, deliveries=tuple(deliveries)))

    def pending(self, study: str) -> tuple[int, list[str]] | None:
        waiting = [d for d in self.records.waiting() if d.study_instance_uid == study]
        revision = max((d.revision for d in waiting), default=0)
        return (revision, [d.destination for d in waiting if d.revision == revision]) if waiting else None

    def waiting(self) -> list[Errand]:
        return [slot.errand for slot in self.records.waiting()]

    def priority(self, study: str) -> Priority:
        return self.records.priority(study)

    def give_up(self, study: str, why: str) -> None:
        films = [film for film in self.records.films(study) if film.state is FilmState.IN_PROGRESS]
        answers = [FilmAnswer(film_id=f.id, state=FilmState.FAILED, reason="internal", detail=why) for f in films]
        self.records.answer(answers)

    def deliver(self, study: str, revision: int, destination: str) -> bool:
        slots = self.records.slots(study, revision, destination)
        if all(slot.state is not DeliveryState.PENDING for slot in slots):
            # As the desk: an attempt too many finds nothing to do.
            return True
        if (self.folder / f"{destination}.down").exists():
            self.note(f"down {study} {revision} {destination}")
            raise DeliveryError("it is down")
        tried = self.folder / f"{study}.{revision}.{destination}"
        if destination != "good" and not tried.exists():
            tried.touch()
            if destination == "flaky":
                raise DeliveryError("the first attempt fails")
            self.note(f"pick {study} {revision}")
            return False
        self.note(f"deliver {study} {revision} {destination}")
        for slot in slots:
            self.records.settle(slot, DeliveryState.DELIVERED)
        return True

    def is_asked(self, destination: str) -> bool:
        return True

    def next_turn(self, study: str, revision: int, destination: str) -> int | None:
        self.note(f"ended {study} {revision} {destination}")
        return 0 if destination == "good" else None

    def commit(self, study: str, revision: int, destination: str, turn: int) -> float | None:
        self.note(f"commit {study} {revision} {destination} {turn}")
        return 0.1 if turn == 0 else None

    def hurry(self, study: str, revision: int, destination: str, turn: int) -> float | None:
        return None

    def clean(self) -> int:
        self.note("clean")
        return int(calls_of(self.folder).count("clean") < 3)

    def owed(self) -> list[tuple[Errand, int]]:
        return []

    def undeliverable(self, study: str, revision: int, destination: str, why: str) -> None:
        for slot in self.records.slots(study, revision, destination):
            self.records.settle(slot, DeliveryState.UNDELIVERABLE, why)


def main(url: str, folder: str) -> None:
    """Work until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    work = RecordingWork(Records(prepare(url)), Path(folder))
    patience = Delivery(**json.loads(os.environ.get("PATIENCE", "{}")))
    with run_workflows(url, work, slot="worker-0", patience=patience) as look:
        work.note("ready")
        while not stop.wait(0.2):
            look()


if __name__ == "__main__":
    main(*sys.argv[1:])
