"""The durable workflow that asks destinations to commit to what they got: a turn each, and a pause before the next.

A turn that waits holds no place: it is enqueued with its pause, and an answer that says that something was lost
shortens that.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from dbos import DBOS, SetEnqueueOptions, SetWorkflowID, WorkflowSerializationFormat

from pneumo_monai.workflows import PATIENT_POLLING_SECONDS, STEP_ATTEMPTS, commitment_queue, turn_id

__all__ = ["COMMITMENTS_AT_ONCE", "AskTurn", "Custody", "Ended", "define_commitment", "register_commitment_queues"]

COMMITMENTS_AT_ONCE = 4
"""Requests to one destination at once: each keeps its association open for a while, for the answer."""


class Custody(Protocol):
    """What the workflow makes durable. Each call may be repeated after a crash and must then change nothing more."""

    def next_turn(self, study_instance_uid: str, revision: int, destination: str) -> int | None:
        """Return the turn that is due once a delivery has ended; None: nothing need be asked."""

    def commit(self, study_instance_uid: str, revision: int, destination: str, turn: int) -> float | None:
        """Ask a destination, and return the seconds until the next turn; None: there is none."""

    def hurry(self, study_instance_uid: str, revision: int, destination: str, turn: int) -> float | None:
        """Return the seconds until the next turn after one that was answered with a failure; None: it was not."""


AskTurn = Callable[[str, int, str, int, float | None], None]
"""Asks for one turn at a commitment to a revision, after a pause in seconds; turns count from 0."""

Ended = Callable[[str, int, str], None]
"""Is called by a workflow once nothing waits any more for a destination to take a revision."""


def define_commitment(work: Custody) -> tuple[Ended, AskTurn]:
    """Register the workflow, and return what is to be called when a delivery has ended, and how to ask for a turn."""

    @DBOS.step(name="next_turn", retries_allowed=True, max_attempts=STEP_ATTEMPTS)
    def next_turn(study: str, revision: int, destination: str) -> int | None:
        return work.next_turn(study, revision, destination)

    @DBOS.step(name="commit", retries_allowed=True, max_attempts=STEP_ATTEMPTS)
    def commit(study: str, revision: int, destination: str, turn: int) -> float | None:
        return work.commit(study, revision, destination, turn)

    @DBOS.step(name="hurry", retries_allowed=True, max_attempts=STEP_ATTEMPTS)
    def hurry(study: str, revision: int, destination: str, turn: int) -> float | None:
        return work.hurry(study, revision, destination, turn)

    @DBOS.workflow(name="commit_report", serialization_type=WorkflowSerializationFormat.PORTABLE)
    def commit_report(study: str, revision: int, destination: str, turn: int) -> None:
        pause = commit(study, revision, destination, turn)
        if pause is None:
            return
        ask(study, revision, destination, turn + 1, pause)
        # An answer that came before there was a next turn to hurry is seen here; a later one by whoever enters it.
        sooner = hurry(study, revision, destination, turn)
        if sooner is not None:
            DBOS.set_workflow_delay(turn_id(study, revision, destination, turn + 1), delay_seconds=sooner)

    def ask(study: str, revision: int, destination: str, turn: int, pause: float | None) -> None:
        which = turn_id(study, revision, destination, turn)
        with SetWorkflowID(which), SetEnqueueOptions(delay_seconds=pause):
            DBOS.enqueue_workflow(commitment_queue(destination), commit_report, study, revision, destination, turn)

    def ended(study: str, revision: int, destination: str) -> None:
        turn = next_turn(study, revision, destination)
        if turn is not None:
            ask(study, revision, destination, turn, None)

    return ended, ask


def register_commitment_queues(destinations: Iterable[str]) -> None:
    """Register a queue for each destination, apart from that of its deliveries: a mute one delays nothing."""
    for destination in destinations:
        DBOS.register_queue(
            commitment_queue(destination),
            worker_concurrency=COMMITMENTS_AT_ONCE,
            polling_interval_sec=PATIENT_POLLING_SECONDS,
            on_conflict="always_update",
        )
