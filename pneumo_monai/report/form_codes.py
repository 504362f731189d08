"""Codes of the forms that are no measurement report, under the attribute or template row that they stand for.

No private codes, as in `codes`.
"""

from pydicom.sr.coding import Code

__all__ = [
    "CHEST_CAD_REPORT",
    "DOCUMENT_TITLE_MODIFIER",
    "INAPPROPRIATE_PROCESSING",
    "KEY_OBJECT_DESCRIPTION",
    "OF_INTEREST",
    "REJECTED_FOR_QUALITY",
    "REJECTED_FOR_SAFETY",
    "SOURCE_IMAGE",
    "SPATIAL_RESAMPLING",
]

# PS3.3 C.7.6.1 General Image and C.12.1 SOP Common
SPATIAL_RESAMPLING = Code("113085", "DCM", "Spatial resampling")  # Derivation Code Sequence (0008,9215), CID 7203
SOURCE_IMAGE = Code(
    "121322", "DCM", "Source image for image processing operation"
)  # Purpose of Reference Code Sequence (0040,A170), CID 7202

# TID 2010 Key Object Selection
OF_INTEREST = Code("113000", "DCM", "Of Interest")  # row 1, CID 7010
REJECTED_FOR_SAFETY = Code("113037", "DCM", "Rejected for Patient Safety Reasons")  # row 1, CID 7010
REJECTED_FOR_QUALITY = Code("113001", "DCM", "Rejected for Quality Reasons")  # row 1, CID 7010
DOCUMENT_TITLE_MODIFIER = Code("113011", "DCM", "Document Title Modifier")  # row 3
INAPPROPRIATE_PROCESSING = Code("111219", "DCM", "Inappropriate image processing")  # row 3, CID 7011
KEY_OBJECT_DESCRIPTION = Code("113012", "DCM", "Key Object Description")  # row 6, free text

# PS3.3 C.24.2 Encapsulated Document, Concept Name Code Sequence (0040,A043)
CHEST_CAD_REPORT = Code("112000", "DCM", "Chest CAD Report")  # the title of TID 4100, which says what this is
