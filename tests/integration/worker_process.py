"""A worker process with work of its own: writes down what it was asked, and can be killed in the middle."""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from pneumo_monai.errors import DeliveryError
from pneumo_monai.ledger import prepare, run_workflows
from pneumo_monai.records import DeliveryState, FilmAnswer, FilmState, Records, ReportRecord


class RecordingWork:
    """Answers each study, in a file for each call, as slowly as the environment asks."""

    destinations: Sequence[str] = ("good", "flaky")

    def __init__(self, records: Records, folder: Path) -> None:
        self.records = records
        self.folder = folder

    def note(self, line: str) -> None:
        with (self.folder / "calls").open("a") as stream:
            stream.write(line + "\n")

    def analyse(self, study: str) -> str | None:
        self.note(f"begin {study}")
        time.sleep(float(os.environ.get("ANALYSIS_SECONDS", "0")))
        previous = self.records.latest_report(study)
        revision = 1 if previous is None else previous.revision + 1
        films = self.records.films(study)
        fingerprint = ",".join(str(film.id) for film in films)
        answers = [FilmAnswer(film_id=film.id, state=FilmState.ANALYSED) for film in films]
        if previous is not None and previous.fingerprint == fingerprint:
            self.records.answer(answers, None, ())
            self.note(f"end {study}")
            return self.records.undelivered(study)
        report = ReportRecord(
            sop_instance_uid=f"{study}.9.{revision}",
            study_instance_uid=study,
            revision=revision,
            fingerprint=fingerprint,
            path="none",
            created_at=time.time(),
        )
        self.records.answer(answers, report, self.destinations)
        self.note(f"end {study}")
        if os.environ.get("DIE_WHEN_ENTERED"):
            os._exit(9)
        return self.records.undelivered(study)

    def give_up(self, study: str, why: str) -> None:
        films = [film for film in self.records.films(study) if film.state is FilmState.IN_PROGRESS]
        answers = [FilmAnswer(film_id=f.id, state=FilmState.FAILED, reason="internal", detail=why) for f in films]
        self.records.answer(answers, None, ())

    def deliver(self, report: str, destination: str) -> None:
        if destination == "flaky" and not (self.folder / f"{report}.tried").exists():
            (self.folder / f"{report}.tried").touch()
            raise DeliveryError("the first attempt fails")
        self.note(f"deliver {report} {destination}")
        self.records.set_delivery(report, destination, DeliveryState.DELIVERED)

    def undeliverable(self, report: str, destination: str, why: str) -> None:
        self.records.set_delivery(report, destination, DeliveryState.UNDELIVERABLE, why)


def main(url: str, folder: str) -> None:
    """Work until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    work = RecordingWork(Records(prepare(url)), Path(folder))
    with run_workflows(url, work, slot="worker-0"):
        work.note("ready")
        stop.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
