"""Every error this package raises, sorted by what the caller does about it.

::

    PneumoMonaiError
    ├── Refused             the film may not be read: say why, never try again
    ├── Retryable           the world was not ready: try the same thing later
    │   ├── DeliveryError       a destination did not take a result
    │   │   └── NotAccepted         it never takes objects of this kind: send another form
    │   └── OutOfResources      disk or ledger cannot take a film now
    ├── Broken              this very film or study cannot be worked on: quarantine it
    └── ConfigurationError  the operator must change something: names the key or the file
        └── BundleError         the model on disk breaks its own contract
"""

from enum import StrEnum

__all__ = [
    "Broken",
    "BundleError",
    "ConfigurationError",
    "DeliveryError",
    "NotAccepted",
    "OutOfResources",
    "PneumoMonaiError",
    "Reason",
    "Refused",
    "Retryable",
]


class Reason(StrEnum):
    """Why a received object was not analysed; the value is what the ledger stores and `status` prints."""

    OWN_RESULT = "own-result"
    NOT_AN_IMAGE = "not-an-image"
    SOP_CLASS = "sop-class"
    MODALITY = "modality"
    BODY_PART = "body-part"
    VIEW = "view"
    AGE = "age"
    FOR_PROCESSING = "for-processing"
    MULTIFRAME = "multiframe"
    COLOUR = "colour"
    NO_PIXEL_DATA = "no-pixel-data"
    PIXEL_FORMAT = "pixel-format"
    TOO_LARGE = "too-large"
    UNDECODABLE = "undecodable"
    UNLIKE_CHEST = "unlike-chest"
    INVERTED = "inverted"
    UNPARSEABLE = "unparseable"
    MISSING_IDENTITY = "missing-identity"
    CONFLICTING_CONTENT = "conflicting-content"
    RETRACTED = "retracted"
    FILMS_REMOVED = "films-removed"
    QUARANTINED = "quarantined"


class PneumoMonaiError(Exception):
    """The root of the tree above."""


class Refused(PneumoMonaiError):
    """A film that may not be read.

    Parameters
    ----------
    reason : Reason
        The coded reason.
    detail : str
        One sentence for the administrator. It may quote coded attributes (body part, view, sizes), never
        anything that identifies a patient.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["Refused"], tuple[Reason, str]]:
        return type(self), (self.reason, self.detail)


class Retryable(PneumoMonaiError):
    """The same thing may succeed later."""


class DeliveryError(Retryable):
    """A destination did not take a result."""


class NotAccepted(DeliveryError):
    """A destination does not support this SOP Class in this transfer syntax (PS3.8 7.1.1.14; PS3.7 C.5.6: 0x0122)."""


class OutOfResources(Retryable):
    """Disk or ledger cannot take a film now (PS3.4 table B.2-1: 0xA700)."""


class Broken(PneumoMonaiError):
    """This film or study cannot be worked on; others can."""


class ConfigurationError(PneumoMonaiError):
    """The operator must change something; the message names the key or the file and the remedy."""


class BundleError(ConfigurationError):
    """The model on disk breaks its own contract."""
