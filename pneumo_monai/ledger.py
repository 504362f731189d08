"""The durable workflows: analyse a study, retract its result. With `delivering` and
`committing` the only module that knows DBOS.

A listener enters what it received and asks for a study to be reported (`Inbox`). A worker takes up what was asked
(`run_workflows`); what a crash interrupts is taken up again by the worker of the same slot.

::

    Inbox.receive ▸ films         Inbox.close_study ▸ report_study  ▸ (analyse) ▸ deliver_report, one a destination
                                  Inbox.reread      ▸ reread_study  ▸ (analyse) ▸ the same
                                  Inbox.retract     ▸ retract_study ▸ (retract) ▸ the same
"""

import logging
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer, WorkflowSerializationFormat

from pneumo_monai.cleaning import Housekeeping, define_cleaning, schedule_cleaning
from pneumo_monai.commitments import Commitments
from pneumo_monai.committing import Custody, define_commitment, register_commitment_queues
from pneumo_monai.delivering import RETRY_SECONDS, Ask, Errand, define_delivery, is_retryable, register_delivery_queues
from pneumo_monai.entries import CommitmentReport, FilmState
from pneumo_monai.findings import RetractionCause
from pneumo_monai.logs import without_text
from pneumo_monai.records import Records
from pneumo_monai.spool import Identity
from pneumo_monai.tables import connect
from pneumo_monai.workflows import APPLICATION, POLLING_SECONDS, STEP_ATTEMPTS, STUDIES, VERSION, turn_id, workflow_id

__all__ = ["Inbox", "Work", "prepare", "run_workflows"]

_log = logging.getLogger(__name__)

_STUDIES_AT_ONCE = 4
"""Studies one worker has in its graph: enough that decoding one overlaps with reading another."""


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
            system_database_engine=engine, application_name=APPLICATION, serializer=DBOSPortableJSONSerializer()
        )

    def receive(self, identity: Identity, path: str, calling_ae_title: str) -> bool:
        """Commit a received object; False when the very same one was there already."""
        return self.records.receive(identity, path, calling_ae_title)

    def close_study(self, study_instance_uid: str) -> None:
        """Ask for a report on what was received of a study so far; a repeat is a no-op."""
        films = self.records.films(study_instance_uid)
        if not any(film.state is FilmState.IN_PROGRESS for film in films):
            # All of it is answered. The id below would say so too, but old ids are forgotten.
            return
        newest = max(round(film.received_at * 1e6) for film in films)
        # The same films give the same id: asking twice is asking once.
        self._ask("report_study", study_instance_uid, f"{len(films)}:{newest}", study_instance_uid)

    def reread(self, study_instance_uid: str) -> None:
        """Ask for the films of a study to be opened again, and for a revision if that gives something new."""
        self._ask("reread_study", study_instance_uid, uuid.uuid4().hex, study_instance_uid)

    def retract(self, study_instance_uid: str, revision: int, cause: RetractionCause, why: str) -> None:
        """Ask for a result to be withdrawn; once it was since `revision`, that is a no-op."""
        arguments = (study_instance_uid, revision, str(cause), why)
        self._ask("retract_study", study_instance_uid, uuid.uuid4().hex, *arguments)

    def _ask(self, workflow: str, study_instance_uid: str, which: str, *arguments: Any) -> None:
        self._client.enqueue(
            {
                "workflow_name": workflow,
                "queue_name": STUDIES,
                "workflow_id": workflow_id(workflow, study_instance_uid, which),
                # One partition a study: its revisions are made one after the other.
                "queue_partition_key": study_instance_uid,
                "app_version": VERSION,
                "serialization_type": WorkflowSerializationFormat.PORTABLE,
            },
            *arguments,
        )

    def sweep(self) -> int:
        """Ask for a report on every study that a crash left open, and return how many there were."""
        leftovers = self.records.open_studies()
        for study_instance_uid in leftovers:
            self.close_study(study_instance_uid)
        return len(leftovers)

    def enter_commitment(self, report: CommitmentReport) -> bool:
        """Enter what a destination answered to a request for storage commitment; False: nobody made that request."""
        asked = Commitments(self.records.engine).enter(report)
        if asked is not None and asked.failures:
            # What was lost is sent again now, and not when an answer would be overdue.
            following = turn_id(asked.study_instance_uid, asked.revision, asked.destination, asked.turn + 1)
            self._client.set_workflow_delay(following, delay_seconds=RETRY_SECONDS)
        return asked is not None

    def close(self) -> None:
        """Let go of the database."""
        self._client.destroy()


class Work(Errand, Custody, Housekeeping, Protocol):
    """What the workflows make durable. Each call may be repeated after a crash and must then change nothing more."""

    destinations: Sequence[str]

    def analyse(self, study_instance_uid: str, *, again: bool = False) -> tuple[int, list[str]] | None:
        """Read a study, enter its answers, and return its current revision and the destinations that wait for it.

        `again`: what was answered before is read again.
        """

    def give_up(self, study_instance_uid: str, why: str) -> None:
        """Enter as failed what is still in progress of a study."""

    def retract(self, study_instance_uid: str, revision: int, cause: str, why: str) -> tuple[int, list[str]] | None:
        """Withdraw a study's result unless it was since `revision`, and return what waits, as `analyse` does."""

    def waiting(self) -> list[tuple[str, int, str]]:
        """Return study, revision and destination of all that waits."""

    def owed(self) -> list[tuple[str, int, str, int]]:
        """Return study, revision, destination and next turn of the commitments that may be asked for."""


def _define_reading(work: Work, ask: Ask) -> None:
    """Register what reads a study, for the first time or again."""

    @DBOS.step(name="analyse", retries_allowed=True, max_attempts=STEP_ATTEMPTS, should_retry=is_retryable)
    def analyse(study: str, again: bool) -> tuple[int, list[str]] | None:
        return work.analyse(study, again=again)

    @DBOS.step(name="give_up", retries_allowed=True, max_attempts=STEP_ATTEMPTS)
    def give_up(study: str, why: str) -> None:
        work.give_up(study, why)

    def read(study: str, *, again: bool) -> None:
        try:
            waiting = analyse(study, again)
        except Exception as error:  # noqa: BLE001 - entered in the ledger, for all to see
            _log.error("study %s cannot be analysed", study, exc_info=without_text(error))
            give_up(study, type(error).__name__)
            return
        _ask_for_all(ask, study, waiting)

    @DBOS.workflow(name="report_study", serialization_type=WorkflowSerializationFormat.PORTABLE)
    def report_study(study: str) -> None:
        read(study, again=False)

    @DBOS.workflow(name="reread_study", serialization_type=WorkflowSerializationFormat.PORTABLE)
    def reread_study(study: str) -> None:
        read(study, again=True)


def _define_retraction(work: Work, ask: Ask) -> None:
    """Register what withdraws a result."""

    @DBOS.step(name="retract", retries_allowed=True, max_attempts=STEP_ATTEMPTS, should_retry=is_retryable)
    def retract(study: str, revision: int, cause: str, why: str) -> tuple[int, list[str]] | None:
        return work.retract(study, revision, cause, why)

    @DBOS.workflow(name="retract_study", serialization_type=WorkflowSerializationFormat.PORTABLE)
    def retract_study(study: str, revision: int, cause: str, why: str) -> None:
        try:
            waiting = retract(study, revision, cause, why)
        except Exception as error:  # noqa: BLE001 - nothing else can be done about it here
            _log.error("the result of study %s cannot be retracted", study, exc_info=without_text(error))
            return
        _ask_for_all(ask, study, waiting)


def _ask_for_all(ask: Ask, study: str, waiting: tuple[int, list[str]] | None) -> None:
    revision, destinations = waiting or (0, [])
    for destination in destinations:
        ask(study, revision, destination, 0)


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
            "name": APPLICATION,
            "system_database_url": url,
            "application_version": VERSION,
            "executor_id": slot,
            "serializer": DBOSPortableJSONSerializer(),
            # Each attempt at a delivery is a warning of its own; the desk says once why one waits.
            "log_level": "ERROR",
        }
    )

    # DBOS finds workflows by name when it recovers one: they are there before it looks.
    ended, ask_turn = define_commitment(work)
    ask = define_delivery(work, ended)
    _define_reading(work, ask)
    _define_retraction(work, ask)
    clean_up = define_cleaning(work)
    DBOS.launch()
    DBOS.register_queue(
        STUDIES,
        partition_concurrency=1,
        worker_concurrency=_STUDIES_AT_ONCE,
        polling_interval_sec=POLLING_SECONDS,
        on_conflict="always_update",
    )
    register_delivery_queues(work.destinations)
    register_commitment_queues(work.destinations)
    schedule_cleaning(clean_up)
    for study, revision, destination in work.waiting():
        # Only what an older version of the workflows left is not asked for already.
        if destination in work.destinations:
            ask(study, revision, destination, 0)
    for study, revision, destination, turn in work.owed():
        if destination in work.destinations:
            ask_turn(study, revision, destination, turn, None)
    try:
        yield
    finally:
        DBOS.destroy(workflow_completion_timeout_sec=int(grace_seconds))
