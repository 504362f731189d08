"""Names of queues and workflows, as every process of one version knows them."""

__all__ = [
    "APPLICATION",
    "PATIENT_POLLING_SECONDS",
    "POLLING_SECONDS",
    "STEP_ATTEMPTS",
    "STUDIES",
    "VERSION",
    "commitment_queue",
    "delivery_queue",
    "turn_id",
    "workflow_id",
]

APPLICATION = "pneumo-monai"
VERSION = "3"
"""Version of the workflows. A worker only takes up what this version began: change it when their steps change.

Queues and workflow ids bear it too: what an older version left is asked for again, and does not stand in the way."""

STUDIES = f"studies-{VERSION}"

POLLING_SECONDS = 0.1
"""How often a worker looks for work in each queue. Half of it is what an idle ledger adds on average to a study, and to
its delivery; each look costs a few milliseconds of a core."""

PATIENT_POLLING_SECONDS = 1.0
"""The same where no report waits for what is found."""

STEP_ATTEMPTS = 9
"""Attempts at a step for which resources or the ledger lack, with pauses that double from one second: four minutes."""


def workflow_id(workflow: str, study_instance_uid: str, which: str) -> str:
    """Return the id under which the same work is asked for once, however often it is asked for."""
    return f"{VERSION}:{workflow}:{study_instance_uid}:{which}"


def delivery_queue(destination: str) -> str:
    """Return the queue in which results wait for a destination."""
    return f"deliver-{VERSION}-{destination}"


def commitment_queue(destination: str) -> str:
    """Return the queue in which requests for storage commitment wait for a destination."""
    return f"commit-{VERSION}-{destination}"


def turn_id(study_instance_uid: str, revision: int, destination: str, turn: int) -> str:
    """Return the id of one turn at a commitment: it is asked for by one process, and hurried by another."""
    return workflow_id("commit_report", study_instance_uid, f"{revision}:{destination}:{turn}")
