"""The durable workflow that brings a revision to a destination. With `ledger` and `committing` alone it
knows DBOS."""

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

import sqlalchemy as sa
from dbos import DBOS, SetEnqueueOptions, SetWorkflowID, WorkflowSerializationFormat

from pneumo_monai.committing import Ended
from pneumo_monai.errors import Retryable
from pneumo_monai.workflows import POLLING_SECONDS, STEP_ATTEMPTS, delivery_queue, workflow_id

__all__ = [
    "DELIVERIES_AT_ONCE",
    "DELIVERY_ATTEMPTS",
    "LONGEST_PAUSE_SECONDS",
    "RETRY_SECONDS",
    "Ask",
    "Errand",
    "define_delivery",
    "is_retryable",
    "register_delivery_queues",
]

_log = logging.getLogger(__name__)

DELIVERIES_AT_ONCE = 16
"""Deliveries to one destination at once: some of them may wait for a peer that does not answer."""

RETRY_SECONDS = 5.0
"""Pause between two attempts at a delivery; it doubles where a destination answers and does not take it."""

LONGEST_PAUSE_SECONDS = 600.0

DELIVERY_ATTEMPTS = 17_280
"""Attempts at a destination that cannot be reached, one every five seconds: a day."""

_REFUSED_ATTEMPTS = 150
"""Attempts at what a destination does not take, with pauses that double to ten minutes: a day."""


class Errand(Protocol):
    """What the workflow makes durable. Each call may be repeated after a crash and must then change nothing more."""

    def deliver(self, study_instance_uid: str, revision: int, destination: str) -> bool:
        """Send a revision; False when the destination did not take all of it, `Retryable` when it is not there."""

    def undeliverable(self, study_instance_uid: str, revision: int, destination: str, why: str) -> None:
        """Enter that what still waits was not taken for as long as it was tried."""


Ask = Callable[[str, int, str, int], None]
"""Asks for one attempt at bringing a revision of a study to a destination; attempts count from 0."""


def is_retryable(error: BaseException) -> bool:
    """Tell whether a step that failed is worth another attempt."""
    return isinstance(error, Retryable | OSError | sa.exc.DBAPIError)


def define_delivery(work: Errand, ended: Ended) -> Ask:
    """Register what brings a revision to a destination, and return how to ask for it.

    `ended` is called in the workflow once nothing waits any more: all was taken, or it was given up.
    """

    @DBOS.step(
        name="deliver",
        retries_allowed=True,
        interval_seconds=RETRY_SECONDS,
        backoff_rate=1.0,
        max_attempts=DELIVERY_ATTEMPTS,
        should_retry=is_retryable,
    )
    def deliver(study: str, revision: int, destination: str) -> bool:
        return work.deliver(study, revision, destination)

    @DBOS.step(name="undeliverable", retries_allowed=True, max_attempts=STEP_ATTEMPTS)
    def undeliverable(study: str, revision: int, destination: str, why: str) -> None:
        work.undeliverable(study, revision, destination, why)

    @DBOS.workflow(name="deliver_report", serialization_type=WorkflowSerializationFormat.PORTABLE)
    def deliver_report(study: str, revision: int, destination: str, attempt: int) -> None:
        try:
            is_done = deliver(study, revision, destination)
        except Exception as error:  # noqa: BLE001 - entered in the ledger, for all to see
            why = type(error).__name__
        else:
            if is_done:
                ended(study, revision, destination)
                return
            why = "it was not taken for a day"
            if attempt + 1 < _REFUSED_ATTEMPTS:
                # Not in this workflow: while it waited, it would hold the place of another report.
                ask(study, revision, destination, attempt + 1)
                return
        _log.error("revision %d of study %s cannot be delivered to %s: %s", revision, study, destination, why)
        undeliverable(study, revision, destination, why)
        ended(study, revision, destination)

    def ask(study: str, revision: int, destination: str, attempt: int) -> None:
        pause = min(RETRY_SECONDS * 2.0 ** (attempt - 1), LONGEST_PAUSE_SECONDS) if attempt else None
        which = workflow_id("deliver_report", study, f"{revision}:{destination}:{attempt}")
        with SetWorkflowID(which), SetEnqueueOptions(delay_seconds=pause):
            DBOS.enqueue_workflow(delivery_queue(destination), deliver_report, study, revision, destination, attempt)

    return ask


def register_delivery_queues(destinations: Iterable[str]) -> None:
    """Register a queue for each destination: one that is down delays no other."""
    for destination in destinations:
        DBOS.register_queue(
            delivery_queue(destination),
            worker_concurrency=DELIVERIES_AT_ONCE,
            polling_interval_sec=POLLING_SECONDS,
            on_conflict="always_update",
        )
