"""What must be in place before Holoscan is imported: the stack of its threads, and CUDA's runtime library."""

import ctypes
import resource
from importlib.util import find_spec
from pathlib import Path

__all__ = ["load_cuda_runtime", "raise_stack_limit"]

_STACK_BYTES = 32 << 20
_CUDA_RUNTIME = Path("cu13", "lib", "libcudart.so.13")


def raise_stack_limit() -> None:
    """Give threads the 32 MB of stack that Holoscan asks for; it looks when it is imported."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = _STACK_BYTES if hard == resource.RLIM_INFINITY else min(_STACK_BYTES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))


def load_cuda_runtime() -> None:
    """Load the CUDA runtime of the wheel `nvidia-cuda-runtime`, where it is installed.

    Holoscan is linked to it and does not start without, GPU or not, and does not look into the wheel. Once it is loaded
    the linker finds it by its name. It calls no driver by being loaded.
    """
    spec = find_spec("nvidia")
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        library = Path(folder) / _CUDA_RUNTIME
        if library.is_file():
            ctypes.CDLL(str(library))
            return
