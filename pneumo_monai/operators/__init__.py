"""MONAI Deploy operators: shells around `pneumo_monai.reading`, and the two pairs of ends."""

from pneumo_monai.operators.ends import FolderSink, FolderSource, FutureSink, Inlet, ResidentSource
from pneumo_monai.operators.stages import StageOperator

__all__ = ["FolderSink", "FolderSource", "FutureSink", "Inlet", "ResidentSource", "StageOperator"]
