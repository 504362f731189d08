"""The durable workflow that asks destinations to commit to what they got: a turn each, and a pause before the next.

A turn that waits holds no place: it is enqueued with its pause, and an answer that says that something was lost
shortens that.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from dbos import DBOS, SetEnqueueOptions, SetWorkflowID, WorkflowSerializationFormat

from pneumo_monai.entries import Errand
from pneumo_monai.workflows import OVER, PATIENT_POLLING_SECONDS, STEP_ATTEMPTS, commitment_queue, turn_id

__all__ = ["COMMITMENTS_AT_ONCE", "Custody", "Ended", "define_commitment", "register_commitment_queues"]

COMMITMENTS_AT_ONCE = 4
"""Requests to one destination at once: each keeps its association open for a while, for the answer."""


class Custody(Protocol):
    """What the workflow makes durable. Each call may be repeated after a crash and must then change nothing more."""

    def is_asked(self, destination: str) -> bool:
        """Tell whether a destination is asked to commit to what it got."""

    def next_turn(self, study_instance_uid: str, revision: int, destination: str) -> int | None:
        """Return the turn that is due once a delivery has ended; None: nothing need be asked."""

    def commit(self, study_instance_uid: str, revision: int, destination: str, turn: int) -> float | None:
        """Ask a destination, and return the seconds until the next turn; None: there is none."""

    def hurry(self, study_instance_uid: str, revision: int, destination: str, turn: int) -> float | None:
        """Return the seconds until the next turn after one that was answered with a failure; None: it was not."""


Ended = Callable[[Errand], None]
"""Is called by a workflow once nothing waits any more for a destination to take a revision."""

Resume = Callable[[Iterable[tuple[Errand, int]]], None]
"""Asks, at a start, for the next turns of what is owed, where nobody asked for them."""


def define_commitment(work: Custody) -> tuple[Ended, Resume]:
    """Register the workflow, and return what is called when a delivery has ended, and what at a start."""

    ask = _define_turns(work)

    @DBOS.step(name="next_turn", retries_allowed=True, max_attempts=STEP_ATTEMPTS)
    def next_turn(study: str, revision: int, destination: str) -> int | None:
        return work.next_turn(study, revision, destination)

    def ended(errand: Errand) -> None:
        if not work.is_asked(errand.destination):
            return
        turn = next_turn(*errand)
        if turn is not None:
            ask(errand, _unspent(errand, turn), None)

    def resume(owed: Iterable[tuple[Errand, int]]) -> None:
        for errand, turn in owed:
            # What is asked for already stays as it is.
            ask(errand, _unspent(errand, turn), None)

    return ended, resume


def _define_turns(work: Custody) -> Callable[[Errand, int, float | None], None]:
    @DBOS.step(name="commit", retries_allowed=True, max_attempts=STEP_ATTEMPTS)
    def commit(study: str, revision: int, destination: str, turn: int) -> float | None:
        return work.commit(study, revision, destination, turn)

    @DBOS.step(name="hurry", retries_allowed=True, max_attempts=STEP_ATTEMPTS)
    def hurry(study: str, revision: int, destination: str, turn: int) -> float | None:
        return work.hurry(study, revision, destination, turn)

    @DBOS.workflow(
        name="commit_report",
        serialization_type=WorkflowSerializationFormat.PORTABLE,
        # However often a worker dies: see `pneumo_monai.delivering.workflow`.
        max_recovery_attempts=None,
    )
    def commit_report(study: str, revision: int, destination: str, turn: int) -> None:
        pause = commit(study, revision, destination, turn)
        if pause is None:
            return
        errand = Errand(study, revision, destination)
        ask(errand, turn + 1, pause)
        # An answer that came before there was a next turn to hurry is seen here; a later one by whoever enters it.
        sooner = hurry(study, revision, destination, turn)
        if sooner is not None:
            DBOS.set_workflow_delay(turn_id(errand, turn + 1), delay_seconds=sooner)

    def ask(errand: Errand, turn: int, pause: float | None) -> None:
        with SetWorkflowID(turn_id(errand, turn)), SetEnqueueOptions(delay_seconds=pause):
            DBOS.enqueue_workflow(commitment_queue(errand.destination), commit_report, *errand, turn)

    return ask


def _unspent(errand: Errand, turn: int) -> int:
    """Return the next turn that is not over: one may have ended with nothing, while nobody was to be asked."""
    while (found := DBOS.get_workflow_status(turn_id(errand, turn))) is not None and found.status in OVER:
        turn += 1
    return turn


def register_commitment_queues(destinations: Iterable[str]) -> None:
    """Register a queue for each destination, apart from that of its deliveries: a mute one delays nothing."""
    for destination in destinations:
        DBOS.register_queue(
            commitment_queue(destination),
            worker_concurrency=COMMITMENTS_AT_ONCE,
            polling_interval_sec=PATIENT_POLLING_SECONDS,
            on_conflict="always_update",
        )
