"""Reads chest radiographs for pneumonia between the scanner and the PACS. Research use only."""

from importlib.metadata import version

from pneumo_monai.before_holoscan import keep_to_ourselves, load_cuda_runtime, raise_stack_limit

__all__ = ["__version__"]

__version__ = version("pneumo-monai")

# Here, because MONAI imports Holoscan, and much of this package imports MONAI.
raise_stack_limit()
keep_to_ourselves()
load_cuda_runtime()
