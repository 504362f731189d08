"""The DICOM Conformance Statement, its tables made by asking the code."""
