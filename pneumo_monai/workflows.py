"""Names of queues and workflows, and of their states, as every process of one version knows them."""

import zlib

from pneumo_monai.entries import Errand
from pneumo_monai.priority import Priority

__all__ = [
    "APPLICATION",
    "DELIVERY_POLLING_SECONDS",
    "OVER",
    "PATIENT_POLLING_SECONDS",
    "POLLING_SECONDS",
    "STEP_ATTEMPTS",
    "VERSION",
    "attempt_id",
    "commitment_queue",
    "delivery_queue",
    "partition",
    "study_queue",
    "turn_id",
    "workflow_id",
]

APPLICATION = "pneumo-monai"
VERSION = "4"
"""Version of the workflows. A worker only takes up what this version began: change it when their steps change.

Queues and workflow ids bear it too: what an older version left is asked for again, and does not stand in the way."""

OVER = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
"""States of a workflow that does nothing more."""

POLLING_SECONDS = 0.1
"""How often a worker looks for studies. Half of it is what an idle ledger adds on average to a study; each look costs
some milliseconds of a core."""

DELIVERY_POLLING_SECONDS = 0.25
"""How often it looks for deliveries that could not be begun at once: after an outage there may be thousands."""

PATIENT_POLLING_SECONDS = 1.0
"""How often it looks for what nobody waits for."""

_PARTITIONS = 64
"""Shares of the studies, within each of which one is read after the other. Every look for work goes through them all:
with a share for each study it took the longer, the more studies waited."""

STEP_ATTEMPTS = 9
"""Attempts at a step for which resources or the ledger lack, with pauses that double from one second: four minutes."""


def workflow_id(workflow: str, study_instance_uid: str, which: str) -> str:
    """Return the id under which the same work is asked for once, however often it is asked for."""
    return f"{VERSION}:{workflow}:{study_instance_uid}:{which}"


def attempt_id(errand: Errand, number: int) -> str:
    """Return the id of one attempt at a delivery; attempts count from 1."""
    return workflow_id("deliver_report", errand.study_instance_uid, f"{errand.revision}:{errand.destination}:{number}")


def study_queue(priority: Priority) -> str:
    """Return the queue in which the studies of a priority wait to be read."""
    return f"studies-{VERSION}-{priority}"


def partition(study_instance_uid: str) -> str:
    """Return the share in which a study waits, always the same: so its revisions are made one after the other."""
    return str(zlib.crc32(study_instance_uid.encode()) % _PARTITIONS)


def delivery_queue(destination: str) -> str:
    """Return the queue in which results wait for a destination."""
    return f"deliver-{VERSION}-{destination}"


def commitment_queue(destination: str) -> str:
    """Return the queue in which requests for storage commitment wait for a destination."""
    return f"commit-{VERSION}-{destination}"


def turn_id(errand: Errand, turn: int) -> str:
    """Return the id of one turn at a commitment: it is asked for by one process, and hurried by another."""
    return workflow_id("commit_report", errand.study_instance_uid, f"{errand.revision}:{errand.destination}:{turn}")
