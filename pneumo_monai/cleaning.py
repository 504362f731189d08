"""The durable workflow that removes what its time has come for, every hour, in small bites."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from dbos import DBOS, WorkflowSerializationFormat

from pneumo_monai.workflows import PATIENT_POLLING_SECONDS, STEP_ATTEMPTS, VERSION

__all__ = ["SCHEDULE", "Housekeeping", "define_cleaning", "schedule_cleaning"]

SCHEDULE = "cleaning"

_EVERY_HOUR = "23 * * * *"
_QUEUE = f"cleaning-{VERSION}"

_MOST_BITES = 200
"""Bites at one time; what is left waits for the next hour."""

_KEPT_DAYS = 30
"""How long DBOS's own rows of finished work stay: longer than anything is tried again, for their ids say that it is
asked for already."""

_COLLECTED = 500

_FINISHED = ["SUCCESS", "ERROR", "CANCELLED"]

Clean = Callable[[datetime, Any], None]


class Housekeeping(Protocol):
    """What the workflow makes durable."""

    def clean(self) -> int:
        """Remove something, and return how much; 0: there is nothing left to remove."""


def define_cleaning(work: Housekeeping) -> Clean:
    """Register the workflow, and return it."""

    @DBOS.step(name="clean", retries_allowed=True, max_attempts=STEP_ATTEMPTS)
    def clean() -> int:
        return work.clean()

    @DBOS.step(name="collect", retries_allowed=True, max_attempts=STEP_ATTEMPTS)
    def collect() -> int:
        before = (datetime.now(UTC) - timedelta(days=_KEPT_DAYS)).isoformat()
        finished = DBOS.list_workflows(
            status=_FINISHED, completed_before=before, limit=_COLLECTED, load_input=False, load_output=False
        )
        DBOS.delete_workflows([workflow.workflow_id for workflow in finished])
        return len(finished)

    @DBOS.workflow(name="clean_up", serialization_type=WorkflowSerializationFormat.PORTABLE)
    def clean_up(scheduled_at: datetime, context: Any) -> None:
        del scheduled_at, context
        for bite in (clean, collect):
            for _ in range(_MOST_BITES):
                if not bite():
                    break

    return clean_up


def schedule_cleaning(clean_up: Clean) -> None:
    """Have it done every hour, by whichever worker is free: DBOS asks for it once, however many workers there are."""
    DBOS.register_queue(
        _QUEUE, worker_concurrency=1, polling_interval_sec=PATIENT_POLLING_SECONDS, on_conflict="always_update"
    )
    DBOS.apply_schedules(
        [{"schedule_name": SCHEDULE, "workflow_fn": clean_up, "schedule": _EVERY_HOUR, "queue_name": _QUEUE}]
    )
