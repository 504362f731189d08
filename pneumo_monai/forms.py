"""In which forms a result can be sent: names for settings and ledger, no DICOM library."""

from enum import StrEnum

__all__ = ["Form"]


class Form(StrEnum):
    """One form of a result; the value is what settings and ledger say, and a part of the derived identity."""

    SR_COMPREHENSIVE_3D = "sr-comprehensive-3d"
    SR_COMPREHENSIVE = "sr-comprehensive"
    SR_TEXT = "sr-text"
    SECONDARY_CAPTURE = "sc"
    PRESENTATION_STATE = "gsps"
    KEY_OBJECTS = "kos"
    PDF = "pdf"
    REJECTION_NOTE = "rejection-note"
    """Not to be chosen: it follows the other forms of a retraction by itself."""
