"""The durable attempts at bringing a revision to a destination. Like the `ledger` it knows DBOS.

Each attempt is a workflow of its own: one that fails asks for the next, after a pause, and ends. So nothing waits in a
workflow, where it would hold the place of another report, and there is one way to wait, whatever a destination did.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import ParamSpec, Protocol

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, SetEnqueueOptions, SetWorkflowID, WorkflowSerializationFormat

from pneumo_monai.attempts import Attempts, is_spent, pause
from pneumo_monai.committing import Ended
from pneumo_monai.entries import Errand
from pneumo_monai.errors import Retryable
from pneumo_monai.logs import own_text_alone
from pneumo_monai.priority import Priority
from pneumo_monai.records import Records
from pneumo_monai.sections import Delivery
from pneumo_monai.workflows import (
    DELIVERY_POLLING_SECONDS,
    OVER,
    STEP_ATTEMPTS,
    VERSION,
    attempt_id,
    delivery_queue,
)

__all__ = [
    "DELIVERIES_AT_ONCE",
    "Ask",
    "Carrier",
    "Dispatch",
    "define_delivery",
    "is_retryable",
    "own_words",
    "register_delivery_queues",
    "workflow",
]

P = ParamSpec("P")

_log = logging.getLogger(__name__)

DELIVERIES_AT_ONCE = 16
"""Deliveries to one destination at once: some of them may wait for a peer that does not answer."""

_BEGUN_AT_ONCE = 8
"""How many of them may be under way for another to be begun without its queue: a report need not wait until somebody
looks there, and each look costs. Where more are, the destination is slow, and the queue has the other places and orders
who is next."""

_IDS_AT_ONCE = 1000


class Carrier(Protocol):
    """What the workflow makes durable. Each call may be repeated after a crash and must then change nothing more."""

    def deliver(self, study_instance_uid: str, revision: int, destination: str) -> bool:
        """Send a revision; False when the destination did not take all of it, `Retryable` when it is not there."""

    def undeliverable(self, study_instance_uid: str, revision: int, destination: str, why: str) -> None:
        """Enter that what still waits was not taken for as long as it was tried."""


class Ask(Protocol):
    """Asks, within a workflow, for an attempt at a delivery."""

    def __call__(self, errand: Errand, priority: Priority, number: int = 1, after: float | None = None) -> None: ...


own_words = partial(own_text_alone, OSError, sa.exc.DBAPIError)
"""Around the body of each step: DBOS keeps in the ledger the text of what leaves a step."""


def is_retryable(error: BaseException) -> bool:
    """Tell whether a step that failed is worth another attempt."""
    return isinstance(error, Retryable)


def workflow(name: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Register a workflow: however often a worker dies, it is taken up again, for what ends workers is quarantined."""
    return DBOS.workflow(name=name, serialization_type=WorkflowSerializationFormat.PORTABLE, max_recovery_attempts=None)


def define_delivery(work: Carrier, attempts: Attempts, patience: Delivery, ended: Ended) -> Ask:
    """Register what brings a revision to a destination, and return how to ask for it.

    Parameters
    ----------
    work : Carrier
        What makes an attempt.
    attempts : Attempts
        Where it is entered how it went.
    patience : Delivery
        How long the pauses are, and when it is given up.
    ended : Ended
        What is called in the workflow once nothing waits any more: all was taken, or it was given up.
    """

    @DBOS.step(name="attempt", retries_allowed=True, max_attempts=STEP_ATTEMPTS, should_retry=is_retryable)
    def attempt(study: str, revision: int, destination: str, number: int) -> float | None:
        with own_words():
            return _attempt(work, attempts, patience, Errand(study, revision, destination), number)

    under_way = _UnderWay()

    @workflow("deliver_report")
    def deliver_report(study: str, revision: int, destination: str, number: int, priority: str) -> None:
        with under_way.one(destination):
            after = attempt(study, revision, destination, number)
        if after is not None:
            ask(Errand(study, revision, destination), Priority(priority), number + 1, after)
        else:
            ended(Errand(study, revision, destination))

    def ask(errand: Errand, priority: Priority, number: int = 1, after: float | None = None) -> None:
        options = SetEnqueueOptions(delay_seconds=after, priority=priority.rank)
        with SetWorkflowID(attempt_id(errand, number)):
            if after is None and under_way.count(errand.destination) < _BEGUN_AT_ONCE:
                DBOS.start_workflow(deliver_report, *errand, number, str(priority))
                return
            queue = delivery_queue(errand.destination)
            with options:
                DBOS.enqueue_workflow(queue, deliver_report, *errand, number, str(priority))

    return ask


class _UnderWay:
    """How many deliveries to each destination are under way in this process."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count(self, destination: str) -> int:
        with self._lock:
            return self._counts[destination]

    @contextmanager
    def one(self, destination: str) -> Iterator[None]:
        with self._lock:
            self._counts[destination] += 1
        try:
            yield
        finally:
            with self._lock:
                self._counts[destination] -= 1


def _attempt(work: Carrier, attempts: Attempts, patience: Delivery, errand: Errand, number: int) -> float | None:
    """Make one attempt; return the seconds until the next, None when there is none."""
    try:
        is_done = work.deliver(*errand)
    except sa.exc.DBAPIError:
        # The ledger, not the destination: the step is made again.
        raise
    except (Retryable, OSError):
        is_done = False
    except Exception as error:  # noqa: BLE001 - entered in the ledger, for all to see
        _give_up(work, attempts, errand, type(error).__name__)
        return None
    if is_done:
        attempts.end(errand)
        return None
    now, known = time.time(), attempts.of(errand)
    if is_spent(patience, known, now):
        _give_up(work, attempts, errand, f"it was not taken for {patience.give_up_after_hours:g} hours")
        return None
    # A clock that was set back: it counts from now, or it would count for ever.
    since = min(known.since, now)
    seconds = pause(patience, attempt_id(errand, number), now - since)
    attempts.failed(errand, number, since=since, tried_at=now, next_at=now + seconds)
    return seconds


def _give_up(work: Carrier, attempts: Attempts, errand: Errand, why: str) -> None:
    study, revision, destination = errand
    _log.error("revision %d of study %s cannot be delivered to %s: %s", revision, study, destination, why)
    work.undeliverable(*errand, why)
    attempts.end(errand)


def register_delivery_queues(destinations: Iterable[str]) -> None:
    """Register a queue for each destination: one that is down delays no other."""
    for destination in destinations:
        DBOS.register_queue(
            delivery_queue(destination),
            worker_concurrency=DELIVERIES_AT_ONCE - _BEGUN_AT_ONCE,
            polling_interval_sec=DELIVERY_POLLING_SECONDS,
            on_conflict="always_update",
        )


class Dispatch:
    """Asks for attempts from outside of the workflows.

    Parameters
    ----------
    client : DBOSClient
        Of the same database.
    records : Records
        The ledger's tables.
    """

    def __init__(self, client: DBOSClient, records: Records) -> None:
        self._client = client
        self._records = records
        self._attempts = Attempts(records.engine)

    def resume(self, errands: Sequence[Errand]) -> None:
        """Ask for what nobody asked for: an older version did, or the attempt came to an end that nobody entered."""
        for errand, number, is_asked_for in self._next(errands):
            if not is_asked_for:
                self._enqueue(errand, number)

    def hasten(self, errands: Sequence[Errand]) -> None:
        """Ask for an attempt at once, where none is under way."""
        for errand, number, _ in self._next(errands):
            # Either it is there and waits, or it is not there: one of the two does something.
            self._enqueue(errand, number)
            self._client.set_workflow_delay(attempt_id(errand, number), delay_seconds=0)
            self._attempts.is_due(errand)

    def mind_the_clock(self, patience: Delivery) -> None:
        """Let nothing wait longer than the longest pause: a clock that was set back would have it wait that long."""
        late = self._attempts.ahead_of(time.time() + patience.longest_pause)
        if late:
            _log.warning("the clock was set back: %d deliveries are tried now, not when they were to be", len(late))
            self.hasten([attempt.errand for attempt in late])

    def _enqueue(self, errand: Errand, number: int) -> None:
        priority = self._records.priority(errand.study_instance_uid)
        self._client.enqueue(
            {
                "workflow_name": "deliver_report",
                "queue_name": delivery_queue(errand.destination),
                "workflow_id": attempt_id(errand, number),
                "app_version": VERSION,
                "priority": priority.rank,
                "serialization_type": WorkflowSerializationFormat.PORTABLE,
            },
            *errand,
            number,
            str(priority),
        )

    def _next(self, errands: Sequence[Errand]) -> Iterator[tuple[Errand, int, bool]]:
        """Yield the number of the next attempt at each, and whether it was asked for."""
        numbers = {errand: self._attempts.of(errand).number + 1 for errand in errands}
        while numbers:
            ids = {attempt_id(errand, number): errand for errand, number in numbers.items()}
            states = dict(self._states(list(ids)))
            for which, errand in ids.items():
                state = states.get(which)
                if state in OVER:
                    numbers[errand] += 1
                else:
                    yield errand, numbers.pop(errand), state is not None

    def _states(self, ids: Sequence[str]) -> Iterator[tuple[str, str]]:
        for first in range(0, len(ids), _IDS_AT_ONCE):
            some = list(ids[first : first + _IDS_AT_ONCE])
            for found in self._client.list_workflows(workflow_ids=some, load_input=False, load_output=False):
                yield found.workflow_id, found.status
