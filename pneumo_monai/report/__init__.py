"""Findings to DICOM objects: codes, structured report, its bytes, its text."""
