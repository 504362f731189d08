"""The durable workflows: analyse a study, deliver its report. The only module that knows DBOS.

A listener enters what it received and asks for a study to be reported (`Inbox`). A worker takes up what was asked
(`run_workflows`); what a crash interrupts is taken up again by the worker of the same slot.

::

    Inbox.receive ▸ films         Inbox.close_study ▸ report_study ▸ (analyse) ▸ deliver_report, one a destination
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer, SetWorkflowID, WorkflowSerializationFormat

from pneumo_monai.errors import Retryable
from pneumo_monai.logs import without_text
from pneumo_monai.records import Records, connect
from pneumo_monai.spool import Identity

__all__ = ["DELIVERIES_AT_ONCE", "DELIVERY_ATTEMPTS", "RETRY_SECONDS", "Inbox", "Work", "prepare", "run_workflows"]

_log = logging.getLogger(__name__)

_APPLICATION = "pneumo-monai"
_SCHEMA_VERSION = "1"
"""Version of the workflows below. A worker only takes up what this version began: change it when their steps change."""

_STUDIES = "studies"
_POLLING_SECONDS = 0.1
"""How often a worker looks for work in each queue. Half of it is what an idle ledger adds on average to a study, and to
its delivery; each look costs a few milliseconds of a core."""

_STUDIES_AT_ONCE = 4
"""Studies one worker has in its graph: enough that decoding one overlaps with reading another."""

_ANALYSIS_ATTEMPTS = 9
"""Attempts at a study for which resources lack, with pauses that double from one second: four minutes."""

DELIVERIES_AT_ONCE = 16
"""Deliveries to one destination at once: some of them may wait for a peer that does not take them."""

RETRY_SECONDS = 5.0
"""Pause between two attempts at a delivery."""

DELIVERY_ATTEMPTS = 17_280
"""A day of attempts, one every five seconds."""


def prepare(url: str) -> sa.Engine:
    """Create or migrate the ledger's tables and return the engine to reach them."""
    engine = connect(url)
    DBOS.migrate(url)
    return engine


class Inbox:
    """The listener's side of the ledger.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        From `prepare`.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.records = Records(engine)
        self._client = DBOSClient(
            system_database_engine=engine, application_name=_APPLICATION, serializer=DBOSPortableJSONSerializer()
        )

    def receive(self, identity: Identity, path: str, calling_ae_title: str) -> bool:
        """Commit a received object; False when the very same one was there already."""
        return self.records.receive(identity, path, calling_ae_title)

    def close_study(self, study_instance_uid: str) -> None:
        """Ask for a report on what was received of a study so far; a repeat is a no-op."""
        films = self.records.films(study_instance_uid)
        if not films:
            return
        newest = max(round(film.received_at * 1e6) for film in films)
        self._client.enqueue(
            {
                "workflow_name": "report_study",
                "queue_name": _STUDIES,
                # The same films give the same id: asking twice is asking once.
                "workflow_id": f"study:{study_instance_uid}:{len(films)}:{newest}",
                # One partition a study: its revisions are made one after the other.
                "queue_partition_key": study_instance_uid,
                "app_version": _SCHEMA_VERSION,
                "serialization_type": WorkflowSerializationFormat.PORTABLE,
            },
            study_instance_uid,
        )

    def sweep(self) -> int:
        """Ask for a report on every study that a crash left open, and return how many there were."""
        leftovers = self.records.open_studies()
        for study_instance_uid in leftovers:
            self.close_study(study_instance_uid)
        return len(leftovers)

    def close(self) -> None:
        """Let go of the database."""
        self._client.destroy()


class Work(Protocol):
    """What the workflows make durable. Each call may be repeated after a crash and must then change nothing more."""

    destinations: Sequence[str]

    def analyse(self, study_instance_uid: str) -> str | None:
        """Read a study, enter its answers, and return the SOP Instance UID of a report that waits for a destination."""

    def give_up(self, study_instance_uid: str, why: str) -> None:
        """Enter as failed what is still in progress of a study."""

    def deliver(self, report: str, destination: str) -> None:
        """Send a report; `Retryable` when the destination did not take it."""

    def undeliverable(self, report: str, destination: str, why: str) -> None:
        """Enter that a report was not taken for as long as it was tried."""


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, Retryable | OSError | sa.exc.DBAPIError)


def _define_workflows(work: Work) -> None:
    """Register steps and workflows with DBOS, which finds them by name when it recovers one."""

    @DBOS.step(name="analyse", retries_allowed=True, max_attempts=_ANALYSIS_ATTEMPTS, should_retry=_is_retryable)
    def analyse(study_instance_uid: str) -> str | None:
        return work.analyse(study_instance_uid)

    @DBOS.step(name="give_up", retries_allowed=True, max_attempts=_ANALYSIS_ATTEMPTS)
    def give_up(study_instance_uid: str, why: str) -> None:
        work.give_up(study_instance_uid, why)

    @DBOS.step(
        name="deliver",
        retries_allowed=True,
        interval_seconds=RETRY_SECONDS,
        backoff_rate=1.0,
        max_attempts=DELIVERY_ATTEMPTS,
        should_retry=_is_retryable,
    )
    def deliver(report: str, destination: str) -> None:
        work.deliver(report, destination)

    @DBOS.step(name="undeliverable", retries_allowed=True, max_attempts=_ANALYSIS_ATTEMPTS)
    def undeliverable(report: str, destination: str, why: str) -> None:
        work.undeliverable(report, destination, why)

    @DBOS.workflow(name="deliver_report", serialization_type=WorkflowSerializationFormat.PORTABLE)
    def deliver_report(report: str, destination: str) -> None:
        try:
            deliver(report, destination)
        except Exception as error:  # noqa: BLE001 - entered in the ledger, for all to see
            _log.error("report %s cannot be delivered to %s: %s", report, destination, type(error).__name__)
            undeliverable(report, destination, type(error).__name__)

    @DBOS.workflow(name="report_study", serialization_type=WorkflowSerializationFormat.PORTABLE)
    def report_study(study_instance_uid: str) -> str | None:
        try:
            report = analyse(study_instance_uid)
        except Exception as error:  # noqa: BLE001 - entered in the ledger, for all to see
            _log.error("study %s cannot be analysed", study_instance_uid, exc_info=without_text(error))
            give_up(study_instance_uid, type(error).__name__)
            return None
        if report is None:
            return None
        _ask_for_deliveries(report, work.destinations, deliver_report)
        return report


@contextmanager
def run_workflows(url: str, work: Work, *, slot: str, grace_seconds: float = 10.0) -> Iterator[None]:
    """Take up what listeners ask for, until the context ends; then finish what is in flight.

    Parameters
    ----------
    url : str
        Of the ledger.
    work : Work
        What the workflows call.
    slot : str
        Stable name of this worker among its peers: what it leaves when it dies is taken up by the next of this name.
    grace_seconds : float
        How long the end of the context waits for workflows in flight; the rest is taken up at the next start.
    """
    DBOS(
        config={
            "name": _APPLICATION,
            "system_database_url": url,
            "application_version": _SCHEMA_VERSION,
            "executor_id": slot,
            "serializer": DBOSPortableJSONSerializer(),
            # Each attempt at a delivery is a warning of its own; the desk says once why one waits.
            "log_level": "ERROR",
        }
    )

    _define_workflows(work)
    DBOS.launch()
    DBOS.register_queue(
        _STUDIES,
        partition_concurrency=1,
        worker_concurrency=_STUDIES_AT_ONCE,
        polling_interval_sec=_POLLING_SECONDS,
        on_conflict="always_update",
    )
    for destination in work.destinations:
        # A queue for each destination: one that is down delays no other.
        DBOS.register_queue(
            _delivery_queue(destination),
            worker_concurrency=DELIVERIES_AT_ONCE,
            polling_interval_sec=_POLLING_SECONDS,
            on_conflict="always_update",
        )
    try:
        yield
    finally:
        DBOS.destroy(workflow_completion_timeout_sec=int(grace_seconds))


def _ask_for_deliveries(report: str, destinations: Sequence[str], workflow: Callable[[str, str], None]) -> None:
    for destination in destinations:
        with SetWorkflowID(f"deliver:{report}:{destination}"):
            DBOS.enqueue_workflow(_delivery_queue(destination), workflow, report, destination)


def _delivery_queue(destination: str) -> str:
    return f"deliver-{destination}"
