"""Reads chest radiographs for pneumonia between the scanner and the PACS. Research use only."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("pneumo-monai")
