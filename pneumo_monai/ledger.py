"""The durable workflows: analyse a study, retract its result. Only it and
`delivering`, `committing` and `cleaning` know DBOS.

A listener enters what it received and asks for a study to be reported (`Inbox`). A worker takes up what was asked
(`run_workflows`); what a crash interrupts is taken up again by the worker of the same slot.

::

    Inbox.receive ▸ films         Inbox.close_study ▸ report_study  ▸ (analyse) ▸ deliver_report, one a destination
                                  Inbox.reread      ▸ reread_study  ▸ (analyse) ▸ the same
                                  Inbox.retract     ▸ retract_study ▸ (retract) ▸ the same
                                  Inbox.try_again                               ▸ deliver_report
"""

import logging
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer, WorkflowSerializationFormat

from pneumo_monai.attempts import Attempts
from pneumo_monai.cleaning import Housekeeping, define_cleaning, schedule_cleaning
from pneumo_monai.commitments import RETRY_SECONDS, Commitments
from pneumo_monai.committing import Custody, define_commitment, register_commitment_queues
from pneumo_monai.delivering import (
    Ask,
    Carrier,
    Dispatch,
    define_delivery,
    is_retryable,
    own_words,
    register_delivery_queues,
    workflow,
)
from pneumo_monai.entries import CommitmentReport, Errand, FilmState
from pneumo_monai.findings import RetractionCause
from pneumo_monai.logs import name_of, without_text
from pneumo_monai.priority import Priority
from pneumo_monai.records import Records
from pneumo_monai.sections import Delivery
from pneumo_monai.spool import Identity
from pneumo_monai.tables import connect
from pneumo_monai.workflows import (
    APPLICATION,
    PATIENT_POLLING_SECONDS,
    POLLING_SECONDS,
    STEP_ATTEMPTS,
    VERSION,
    partition,
    study_queue,
    turn_id,
    workflow_id,
)

__all__ = ["STUDIES_AT_ONCE", "Inbox", "Work", "prepare", "run_workflows"]

_log = logging.getLogger(__name__)

STUDIES_AT_ONCE = {Priority.STAT: 6, Priority.ROUTINE: 6, Priority.LOW: 1}
"""Studies one worker has in its graph: enough that decoding one overlaps with reading another.

Each priority has places of its own. Of the shares of a queue DBOS draws the next by lot: a priority in a queue of all
would order each share alone."""

_CONNECTIONS = 20
"""To SQLite, for the workflows: as many as DBOS would open itself."""

_CLOCK_SECONDS = 30.0
"""How often it is looked whether the clock was set back."""


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
        self._client = _client(engine)

    def receive(
        self, identity: Identity, path: str, calling_ae_title: str, priority: Priority = Priority.ROUTINE
    ) -> bool:
        """Commit a received object; False when the very same one was there already."""
        return self.records.receive(identity, path, calling_ae_title, priority)

    def close_study(self, study_instance_uid: str) -> None:
        """Ask for a report on what was received of a study so far; where all has its answer, that is a no-op."""
        films = self.records.films(study_instance_uid)
        if not any(film.state is FilmState.IN_PROGRESS for film in films):
            # All of it is answered. The id below would say so too, but old ids are forgotten.
            return
        # The same films give the same id: asking twice is asking once. All of them: the clock may be set back.
        received = ",".join(f"{film.id}:{film.received_at:.6f}" for film in films)
        which = uuid.uuid5(uuid.NAMESPACE_OID, received).hex
        self._ask("report_study", study_instance_uid, which, study_instance_uid)

    def reread(self, study_instance_uid: str) -> None:
        """Ask for the films of a study to be opened again, and for a revision if that gives something new."""
        self._ask("reread_study", study_instance_uid, uuid.uuid4().hex, study_instance_uid)

    def retract(self, study_instance_uid: str, revision: int, cause: RetractionCause, why: str) -> None:
        """Ask for a result to be withdrawn; once it was since `revision`, that is a no-op."""
        arguments = (study_instance_uid, revision, str(cause), why)
        self._ask("retract_study", study_instance_uid, uuid.uuid4().hex, *arguments)

    def try_again(self, errands: Sequence[Errand]) -> None:
        """Let what was given up wait again, count its age from now, and ask for an attempt at once."""
        attempts = Attempts(self.records.engine)
        for errand in errands:
            self.records.revive(errand)
            attempts.begin_again(errand)
        Dispatch(self._client, self.records).hasten(errands)

    def _ask(self, workflow: str, study_instance_uid: str, which: str, *arguments: Any) -> None:
        self._client.enqueue(
            {
                "workflow_name": workflow,
                "queue_name": study_queue(self.records.priority(study_instance_uid)),
                "workflow_id": workflow_id(workflow, study_instance_uid, which),
                "queue_partition_key": partition(study_instance_uid),
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
            self._client.set_workflow_delay(turn_id(asked.errand, asked.turn + 1), delay_seconds=RETRY_SECONDS)
        return asked is not None

    def close(self) -> None:
        """Let go of the database."""
        self._client.destroy()


class Work(Carrier, Custody, Housekeeping, Protocol):
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

    def waiting(self) -> list[Errand]:
        """Return all that waits."""

    def owed(self) -> list[tuple[Errand, int]]:
        """Return the commitments that may be asked for, and the next turn of each."""

    def priority(self, study_instance_uid: str) -> Priority:
        """Return the priority of a study; it never changes."""


def _define_reading(work: Work, ask: Ask) -> None:
    """Register what reads a study, for the first time or again."""

    @DBOS.step(name="analyse", retries_allowed=True, max_attempts=STEP_ATTEMPTS, should_retry=is_retryable)
    def analyse(study: str, again: bool) -> tuple[int, list[str]] | None:
        with own_words():
            return work.analyse(study, again=again)

    @DBOS.step(name="give_up", retries_allowed=True, max_attempts=STEP_ATTEMPTS)
    def give_up(study: str, why: str) -> None:
        with own_words():
            work.give_up(study, why)

    def read(study: str, *, again: bool) -> None:
        try:
            waiting = analyse(study, again)
        except Exception as error:  # noqa: BLE001 - entered in the ledger, for all to see
            _log.error("study %s cannot be analysed: %s", study, name_of(error), exc_info=without_text(error))
            give_up(study, name_of(error))
            return
        _ask_for_all(ask, work.priority(study), study, waiting)

    @workflow("report_study")
    def report_study(study: str) -> None:
        read(study, again=False)

    @workflow("reread_study")
    def reread_study(study: str) -> None:
        read(study, again=True)


def _define_retraction(work: Work, ask: Ask) -> None:
    """Register what withdraws a result."""

    @DBOS.step(name="retract", retries_allowed=True, max_attempts=STEP_ATTEMPTS, should_retry=is_retryable)
    def retract(study: str, revision: int, cause: str, why: str) -> tuple[int, list[str]] | None:
        with own_words():
            return work.retract(study, revision, cause, why)

    @workflow("retract_study")
    def retract_study(study: str, revision: int, cause: str, why: str) -> None:
        try:
            waiting = retract(study, revision, cause, why)
        except Exception as error:  # noqa: BLE001 - nothing else can be done about it here
            what = name_of(error)
            _log.error("the result of study %s cannot be retracted: %s", study, what, exc_info=without_text(error))
            return
        _ask_for_all(ask, work.priority(study), study, waiting)


def _ask_for_all(ask: Ask, priority: Priority, study: str, waiting: tuple[int, list[str]] | None) -> None:
    revision, destinations = waiting or (0, [])
    for destination in destinations:
        ask(Errand(study, revision, destination), priority)


def _client(engine: sa.Engine) -> DBOSClient:
    return DBOSClient(
        system_database_engine=engine, application_name=APPLICATION, serializer=DBOSPortableJSONSerializer()
    )


@contextmanager
def run_workflows(
    url: str, work: Work, *, slot: str, patience: Delivery | None = None, grace_seconds: float = 10.0
) -> Iterator[Callable[[], None]]:
    """Take up what listeners ask for, until the context ends; then finish what is in flight.

    Yields what is to be called now and then: it looks whether the clock was set back.

    Parameters
    ----------
    url : str
        Of the ledger.
    work : Work
        What the workflows call.
    slot : str
        Stable name of this worker among its peers: what it leaves when it dies is taken up by the next of this name.
    patience : Delivery or None
        How long a destination is waited for; None: the defaults of the settings.
    grace_seconds : float
        How long the end of the context waits for workflows in flight; the rest is taken up at the next start.
    """
    engine, patience = connect(url, connections=_CONNECTIONS), patience or Delivery()
    is_sqlite = engine.dialect.name == "sqlite"
    DBOS(
        config={
            "name": APPLICATION,
            # On SQLite the workflows write in turn with all else; to PostgreSQL the library has connections of its own.
            "system_database_engine": engine if is_sqlite else None,
            "system_database_url": None if is_sqlite else url,
            "application_version": VERSION,
            "executor_id": slot,
            "serializer": DBOSPortableJSONSerializer(),
            # Each attempt at a delivery is a warning of its own; the desk says once why one waits.
            "log_level": "ERROR",
        }
    )

    client = _client(engine)
    dispatch = Dispatch(client, Records(engine))
    # DBOS finds workflows by name when it recovers one: they are there before it looks.
    ended, resume_commitments = define_commitment(work)
    ask = define_delivery(work, Attempts(engine), patience, ended)
    _define_reading(work, ask)
    _define_retraction(work, ask)
    clean_up = define_cleaning(work)
    DBOS.launch()
    for priority, at_once in STUDIES_AT_ONCE.items():
        DBOS.register_queue(
            study_queue(priority),
            partition_concurrency=1,
            worker_concurrency=at_once,
            polling_interval_sec=PATIENT_POLLING_SECONDS if priority is Priority.LOW else POLLING_SECONDS,
            on_conflict="always_update",
        )
    waiting = work.waiting()
    # What waits for a destination that is no longer in the configuration says so when it is tried.
    register_delivery_queues({*work.destinations, *(errand.destination for errand in waiting)})
    dispatch.resume(waiting)
    register_commitment_queues(work.destinations)
    resume_commitments(work.owed())
    schedule_cleaning(clean_up)
    try:
        yield _clock_watch(dispatch, patience)
    finally:
        DBOS.destroy(workflow_completion_timeout_sec=int(grace_seconds))
        client.destroy()
        engine.dispose()


def _clock_watch(dispatch: Dispatch, patience: Delivery) -> Callable[[], None]:
    looked_at = float("-inf")

    def look() -> None:
        nonlocal looked_at
        if time.monotonic() - looked_at < _CLOCK_SECONDS:
            return
        looked_at = time.monotonic()
        try:
            dispatch.mind_the_clock(patience)
        except sa.exc.SQLAlchemyError as error:
            _log.warning("the ledger does not say what waits (%s)", type(error).__name__)

    return look
