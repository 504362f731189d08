"""C-STORE response statuses: PS3.4 table B.2-1 and PS3.7 annex C, and which error becomes which."""

from pneumo_monai.errors import OutOfResources, Reason, Refused

__all__ = ["CANNOT_UNDERSTAND", "MISMATCH", "OUT_OF_RESOURCES", "SUCCESS", "for_error"]

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
"""Refused: Out of Resources. The sender keeps the film and tries again."""
MISMATCH = 0xA900
"""Error: Data Set does not match SOP Class, or its UIDs are not those of the request."""
CANNOT_UNDERSTAND = 0xC000
"""Error: Cannot understand. What was sent can never be a film."""


def for_error(error: Exception) -> int:
    """Return the status that tells the sender what to do about an error of ours."""
    if isinstance(error, OutOfResources | OSError):
        return OUT_OF_RESOURCES
    if isinstance(error, Refused):
        return MISMATCH if error.reason is Reason.MISSING_IDENTITY else CANNOT_UNDERSTAND
    # An error nobody foresaw: the film is not durable, so the sender must keep it.
    return OUT_OF_RESOURCES
