"""`make demo`: the whole road on one machine, with a PACS of its own."""

from pneumo_monai.demo.run import run_demo

__all__ = ["run_demo"]
