"""What the ledger says while the service is disturbed, and what stands in the PACS at the end."""

import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from pydicom.dataset import Dataset

from benchmarks.kill_sender import Order
from pneumo_monai.overview import open_records
from pneumo_monai.reconcile import reconcile
from pneumo_monai.settings import Settings
from pneumo_monai.tables import FILMS, look_at
from pneumo_monai.tally import Tally
from tests.peers import COMPREHENSIVE_3D_SR, Orthanc

__all__ = ["Sampler", "judge"]

_SAMPLE_SECONDS = 0.5


class Sampler:
    """Looks into the ledger twice a second.

    Parameters
    ----------
    settings : Settings
        Of the service.
    acknowledged : callable
        Returns how many films were answered 0x0000.
    """

    def __init__(self, settings: Settings, acknowledged: Callable[[], int]) -> None:
        self._settings = settings
        self._acknowledged = acknowledged
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.samples = 0
        self.not_possible = 0
        self.broken: list[str] = []
        self.waiting = -1
        """Films in progress and revisions that wait, at the last look."""
        self.answered = 0
        """Films that were analysed, refused or failed, at the last look."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._end.set()
        self._thread.join()

    def _sample(self) -> None:
        engine = look_at(self._settings.ledger_url)
        tally = Tally(engine)
        while not self._end.wait(_SAMPLE_SECONDS):
            acknowledged = self._acknowledged()
            try:
                received, backlog = tally.received(), tally.backlog()
            except sa.exc.SQLAlchemyError:
                # It was not there yet, or its disk is full.
                self.not_possible += 1
                continue
            self.samples += 1
            self.waiting = backlog.total
            self.answered = received.total - backlog.films
            if not received.holds:
                self.broken.append(f"{time.time():.1f}: {received.total} received, {dict(received.by_outcome)}")
            if received.total < acknowledged:
                self.broken.append(f"{time.time():.1f}: {acknowledged} acknowledged, {received.total} received")
        engine.dispose()


def judge(settings: Settings, pacs: Orthanc, acknowledged: Mapping[str, Order]) -> dict[str, Any]:
    """Hold what stands in the PACS against what was acknowledged.

    A film is lost when the current result of its study is not there, or does not speak of it; an instance is too many
    when another of its study has the same revision.
    """
    records = open_records(settings)
    try:
        studies = sorted({order.study_instance_uid for order in acknowledged.values()})
        current = {report.study_instance_uid: report for report in records.reports(studies)}
        documents = records.documents(studies)
        tally = Tally(records.engine)
        states = {" ".join(filter(None, key)): n for key, n in tally.received().by_outcome.items()}
        days = _days(records.engine)
    finally:
        records.engine.dispose()
    stored: dict[str, list[Dataset]] = {}
    for instance in pacs.instances():
        stored.setdefault(str(instance.StudyInstanceUID), []).append(instance)
    named = {
        study: {d.sop_instance_uid for d in documents if (d.study_instance_uid, d.revision) == (study, report.revision)}
        for study, report in current.items()
    }
    lost = []
    for uid, order in acknowledged.items():
        there = [found for found in stored.get(order.study_instance_uid, ()) if _speaks_of(found, uid)]
        known = {str(found.SOPInstanceUID) for found in there} & named.get(order.study_instance_uid, set())
        if len(known) != 1:
            lost.append(uid)
    too_many = {
        study: numbers
        for study, found in stored.items()
        if len(numbers := [int(f.InstanceNumber) for f in found]) != len(set(numbers))
        or {str(f.SOPClassUID) for f in found} != {COMPREHENSIVE_3D_SR}
    }
    return {
        "studies": len(studies),
        "instances": sum(map(len, stored.values())),
        "revisions": dict(Counter(report.revision for report in current.values())),
        "states": states,
        "lost": lost,
        "strangers": sorted(stored.keys() - set(studies)),
        "duplicates": too_many,
        "reconciled": {day.isoformat(): _reconciled(settings, day) for day in days},
    }


def _speaks_of(report: Dataset, sop_instance_uid: str) -> bool:
    return any(
        reference.ReferencedSOPInstanceUID == sop_instance_uid
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    )


def _days(engine: sa.Engine) -> list[Any]:
    with engine.connect() as connection:
        moments = connection.execute(sa.select(FILMS.c.received_at)).scalars().all()
    return sorted({datetime.fromtimestamp(moment, UTC).astimezone().date() for moment in moments})


def _reconciled(settings: Settings, day: Any) -> bool:
    with redirect_stdout(io.StringIO()) as said:
        is_well = reconcile(settings, day, as_json=True)
    return is_well and bool(json.loads(said.getvalue())["holds"])
