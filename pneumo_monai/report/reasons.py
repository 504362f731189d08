"""Why a film was not analysed, or its result is withdrawn, in words that a radiologist understands."""

from collections.abc import Mapping
from types import MappingProxyType

from pneumo_monai.errors import Reason
from pneumo_monai.findings import RetractionCause

__all__ = ["CAUSES", "CLAUSES"]

CLAUSES: Mapping[Reason, str] = MappingProxyType(
    {
        Reason.OWN_RESULT: "the object is a result of this software",
        Reason.NOT_AN_IMAGE: "the object is no image",
        Reason.SOP_CLASS: "the object is of no DICOM storage class",
        Reason.MODALITY: "the image is no plain radiograph",
        Reason.BODY_PART: "the header states another part than the chest",
        Reason.VIEW: "the header states a view that is not frontal",
        Reason.AGE: "the header does not say the patient is an adult",
        Reason.FOR_PROCESSING: "the image is raw detector data",
        Reason.MULTIFRAME: "the image has several frames",
        Reason.COLOUR: "the image is not in shades of gray",
        Reason.NO_PIXEL_DATA: "there is no picture in the image object",
        Reason.PIXEL_FORMAT: "the format of the picture is not supported",
        Reason.TOO_LARGE: "the image is larger than any film",
        Reason.UNDECODABLE: "the picture is damaged and cannot be decoded",
        Reason.UNLIKE_CHEST: "the image does not look like a frontal chest film",
        Reason.INVERTED: "black and white of the image seem exchanged",
        Reason.UNPARSEABLE: "the header cannot be read",
        Reason.MISSING_IDENTITY: "the image lacks a DICOM identifier",
        Reason.CONFLICTING_CONTENT: "another image has the same identifier",
        Reason.RETRACTED: "its former result was withdrawn",
        Reason.FILMS_REMOVED: "earlier images of the study are not kept any more",
        Reason.QUARANTINED: "reading the image ends the program",
    }
)
"""Reason to what follows "not analysed, because": ASCII, and short enough for a Code Meaning (Long String)."""

CAUSES: Mapping[RetractionCause, str] = MappingProxyType(
    {
        RetractionCause.SAFETY: "it is wrong and may harm the patient",
        RetractionCause.QUALITY: "it should not have been made of these images",
    }
)
"""Kind of retraction to what follows "withdrawn, because"."""
