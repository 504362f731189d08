"""Derived identity: the same input always gives the same UID (PS3.5 B.2, UUID-derived, root 2.25)."""

import uuid

__all__ = ["derive_uid"]

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "pneumo-monai.invalid")


def derive_uid(*parts: str, root: str | None = None) -> str:
    """Derive a UID from the parts that identify an entity.

    Parameters
    ----------
    *parts : str
        What the entity is a function of, the kind of entity first: ``derive_uid("series", study, model, form)``.
    root : str or None
        A root of the institution's own, at most 24 characters; None: 2.25, that of UUIDs.

    Returns
    -------
    str
        The root and the decimal form of a version 5 UUID, which has at most 39 digits.
    """
    return f"{root or '2.25'}.{uuid.uuid5(_NAMESPACE, chr(0x1F).join(parts)).int}"
