"""Every code that a report is written with, under the template row or context group that it stands for (PS3.16).

The designators are DCM, LN, SCT, UCUM, UMLS and RFC5646, all listed in PS3.16 table 8-1, and one of ours: nothing in
DICOM's own terms, SNOMED CT, LOINC or RadLex says from which probability software calls a finding present, why it did
not look at an image, or takes back a result.
"""

from collections.abc import Mapping
from types import MappingProxyType

from pydicom.sr.coding import Code

from pneumo_monai.errors import Reason
from pneumo_monai.findings import RetractionCause
from pneumo_monai.report.reasons import CAUSES, CLAUSES
from pneumo_monai.uids import derive_uid

__all__ = [
    "ABSENT",
    "ALGORITHM_NAME",
    "ALGORITHM_PARAMETERS",
    "ALGORITHM_VERSION",
    "ALL",
    "COMMENT",
    "COMPUTED_RADIOGRAPHY",
    "CURRENT_PROCEDURE_DESCRIPTIONS",
    "DEVICE",
    "DEVICE_OBSERVER_MANUFACTURER",
    "DEVICE_OBSERVER_MODEL_NAME",
    "DEVICE_OBSERVER_NAME",
    "DEVICE_OBSERVER_UID",
    "DIAGNOSTIC_IMAGING_REPORT",
    "DIGITAL_RADIOGRAPHY",
    "ENGLISH",
    "FAILED",
    "FINDING",
    "FINDINGS",
    "IMAGE_LIBRARY",
    "IMAGE_LIBRARY_GROUP",
    "IMAGE_REGION",
    "IMAGE_VIEW",
    "IMAGING_MEASUREMENTS",
    "IMAGING_MEASUREMENT_REPORT",
    "IMAGING_PROCEDURE",
    "IMPRESSION",
    "IMPRESSIONS",
    "LANGUAGE",
    "MEASUREMENT_GROUP",
    "MODALITY",
    "NOT_ANALYSED",
    "NOT_ANALYSED_BECAUSE",
    "NOT_ATTEMPTED",
    "OBSERVER_TYPE",
    "PERCENT",
    "PLAIN_CHEST_XRAY",
    "PNEUMONIA",
    "PRESENT",
    "PRESENT_FROM",
    "PRIVATE_DESIGNATOR",
    "PRIVATE_SCHEME_NAME",
    "PRIVATE_SCHEME_UID",
    "PROBABILITY",
    "PROCEDURE_DESCRIPTION",
    "PROCEDURE_REPORTED",
    "PROCESSING_EQUIPMENT",
    "QUALITATIVE_EVALUATIONS",
    "RADIOGRAPHIC_IMAGING",
    "SOURCE",
    "SUMMARY_OF_ANALYSES",
    "TRACKED",
    "TRACKING_IDENTIFIER",
    "TRACKING_UID",
    "WITHDRAWN",
    "WITHDRAWN_BECAUSE",
]

# TID 1500 Measurement Report
IMAGING_MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")  # row 1, CID 7021, of findings
PROCEDURE_REPORTED = Code("121058", "DCM", "Procedure reported")  # row 4
PLAIN_CHEST_XRAY = Code("399208008", "SCT", "Plain chest X-ray")  # row 4; more precise than CID 100, a baseline group
IMAGING_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")  # row 4, CID 100
IMAGING_MEASUREMENTS = Code("126010", "DCM", "Imaging Measurements")  # row 6
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")  # row 12
IMPRESSION = Code("121073", "DCM", "Impression")  # row 14, free text
COMMENT = Code("121106", "DCM", "Comment")  # row 14, free text; in a TID 1410 or 1501 group an evaluation, free text

# TID 1204 Language of Content Item and Descendants
LANGUAGE = Code("121049", "DCM", "Language of Content Item and Descendants")  # row 1
ENGLISH = Code("en-US", "RFC5646", "English (United States)")  # row 1, CID 5000

# TID 1002 Observer Context
OBSERVER_TYPE = Code("121005", "DCM", "Observer Type")  # row 1
DEVICE = Code("121007", "DCM", "Device")  # row 1, CID 270

# TID 1004 Device Observer Identifying Attributes
DEVICE_OBSERVER_UID = Code("121012", "DCM", "Device Observer UID")  # row 1
DEVICE_OBSERVER_NAME = Code("121013", "DCM", "Device Observer Name")  # row 2
DEVICE_OBSERVER_MANUFACTURER = Code("121014", "DCM", "Device Observer Manufacturer")  # row 3
DEVICE_OBSERVER_MODEL_NAME = Code("121015", "DCM", "Device Observer Model Name")  # row 4

# TID 1600 Image Library
IMAGE_LIBRARY = Code("111028", "DCM", "Image Library")  # row 1
IMAGE_LIBRARY_GROUP = Code("126200", "DCM", "Image Library Group")  # row 2

# TID 1602 Image Library Entry Descriptors
MODALITY = Code("121139", "DCM", "Modality")  # row 1
COMPUTED_RADIOGRAPHY = Code("CR", "DCM", "Computed Radiography")  # row 1, CID 29
DIGITAL_RADIOGRAPHY = Code("DX", "DCM", "Digital Radiography")  # row 1, CID 29
RADIOGRAPHIC_IMAGING = Code("RG", "DCM", "Radiographic imaging")  # row 1, CID 29

# TID 1410 Planar ROI Measurements and Qualitative Evaluations
MEASUREMENT_GROUP = Code("125007", "DCM", "Measurement Group")  # row 1
TRACKING_IDENTIFIER = Code("112039", "DCM", "Tracking Identifier")  # row 2
TRACKING_UID = Code("112040", "DCM", "Tracking Unique Identifier")  # row 3
FINDING = Code("121071", "DCM", "Finding")  # row 3b
PNEUMONIA = Code("233604007", "SCT", "Pneumonia")  # row 3b its value; the name of its evaluation
TRACKED = f"{PNEUMONIA.meaning} on "  # row 2, free text, before the film's SOP Instance UID
IMAGE_REGION = Code("111030", "DCM", "Image Region")  # row 5
SOURCE = Code("260753009", "SCT", "Source")  # row 6 and TID 1601 row 1, which leave the name open
PRESENT = Code("52101004", "SCT", "Present")  # an evaluation's value, CID 241
ABSENT = Code("272519000", "SCT", "Absent")  # an evaluation's value, CID 241
IMAGE_VIEW = Code("111031", "DCM", "Image View")  # an evaluation, free text

# TID 300 Measurement
PROBABILITY = Code("122157", "DCM", "Probability")  # row 1
PERCENT = Code("%", "UCUM", "Percent")  # row 1, CID 7181

# TID 4019 Algorithm Identification
ALGORITHM_NAME = Code("111001", "DCM", "Algorithm Name")  # row 1
ALGORITHM_VERSION = Code("111003", "DCM", "Algorithm Version")  # row 2
ALGORITHM_PARAMETERS = Code("111002", "DCM", "Algorithm Parameters")  # row 3

# TID 4015 and 4016 name it, CID 6042 Status of Results; under TID 1500 row 13 and in a TID 1501 group an evaluation
SUMMARY_OF_ANALYSES = Code("111065", "DCM", "Summary of Analyses")
NOT_ATTEMPTED = Code("111225", "DCM", "Not Attempted")  # no film was read
FAILED = Code("111224", "DCM", "Failed")  # films were read, and what was said of them does not hold

# TID 2000 Basic Diagnostic Imaging Report
DIAGNOSTIC_IMAGING_REPORT = Code(
    "18748-4", "LN", "Diagnostic Imaging Report"
)  # row 1, CID 7000; and of a TID 1500 without findings
IMPRESSIONS = Code("19005-8", "LN", "Impressions")  # row 6, CID 7001; what stands in it: IMPRESSION, CID 7002
FINDINGS = Code("59776-5", "LN", "Findings")  # row 6, CID 7001; what stands in it: FINDING, CID 7002
CURRENT_PROCEDURE_DESCRIPTIONS = Code("55111-9", "LN", "Current Procedure Descriptions")  # row 6, CID 7001
PROCEDURE_DESCRIPTION = Code("121065", "DCM", "Procedure Description")  # what stands in it, CID 7002

# PS3.3 C.12.1 SOP Common, Contributing Equipment Sequence (0018,A001)
PROCESSING_EQUIPMENT = Code("109102", "DCM", "Processing Equipment")  # CID 7005

# Ours. PS3.3 C.12.1 Coding Scheme Identification Sequence (0008,0110) declares the designator where one is written.
PRIVATE_DESIGNATOR = "99PNEUMO"
PRIVATE_SCHEME_UID = derive_uid("coding-scheme")
PRIVATE_SCHEME_NAME = "pneumo-monai: operating point, and why a film has no result"

PRESENT_FROM = Code("present-from", PRIVATE_DESIGNATOR, "Present from")  # TID 300 row 1; short: labels are cut off
NOT_ANALYSED_BECAUSE = Code("not-analysed", PRIVATE_DESIGNATOR, "Not analysed, because")  # an evaluation's name
WITHDRAWN_BECAUSE = Code("withdrawn", PRIVATE_DESIGNATOR, "Result withdrawn, because")  # an evaluation's name
NOT_ANALYSED: Mapping[Reason, Code] = MappingProxyType(
    # Code Value is Short String: 16 characters.
    {reason: Code(reason.removesuffix("-content"), PRIVATE_DESIGNATOR, clause) for reason, clause in CLAUSES.items()}
)  # its value
WITHDRAWN: Mapping[RetractionCause, Code] = MappingProxyType(
    {cause: Code(cause.value, PRIVATE_DESIGNATOR, clause) for cause, clause in CAUSES.items()}
)  # its value

ALL: tuple[Code, ...] = (
    *(value for value in list(globals().values()) if isinstance(value, Code)),
    *NOT_ANALYSED.values(),
    *WITHDRAWN.values(),
)
