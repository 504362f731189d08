"""Reads chest radiographs for pneumonia between the scanner and the PACS. Research use only."""

import resource
from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("pneumo-monai")

_STACK_BYTES = 32 << 20


def _raise_stack_limit() -> None:
    """Give threads the 32 MB of stack that Holoscan asks for; it looks when it is imported, and MONAI imports it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = _STACK_BYTES if hard == resource.RLIM_INFINITY else min(_STACK_BYTES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))


_raise_stack_limit()
