"""Derived identity: the same input always gives the same UID (PS3.5 B.2, UUID-derived, root 2.25)."""

import uuid

__all__ = ["derive_uid"]

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "pneumo-monai.invalid")


def derive_uid(*parts: str) -> str:
    """Derive a UID from the parts that identify an entity.

    Parameters
    ----------
    *parts : str
        What the entity is a function of, the kind of entity first: ``derive_uid("series", study, model, form)``.

    Returns
    -------
    str
        ``2.25.`` and the decimal form of a version 5 UUID, at most 44 characters.
    """
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(0x1F).join(parts)).int}"
