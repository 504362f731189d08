"""What must be in place before Holoscan and ONNX Runtime are imported: stack, CUDA's runtime library, and silence."""

import ctypes
import os
import resource
from importlib.util import find_spec
from pathlib import Path

__all__ = ["keep_to_ourselves", "load_cuda_runtime", "raise_stack_limit"]

_STACK_BYTES = 32 << 20
_CUDA_RUNTIME = Path("cu13", "lib", "libcudart.so.13")


def raise_stack_limit() -> None:
    """Give threads the 32 MB of stack that Holoscan asks for; it looks when it is imported."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = _STACK_BYTES if hard == resource.RLIM_INFINITY else min(_STACK_BYTES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))


def keep_to_ourselves() -> None:
    """Have libraries write nothing to HOME, which a service may not, and report nothing to anybody.

    CuPy, which the App SDK imports, makes a folder for its cache, and cannot be imported where it may not: it is given
    one that is there; no kernel of CuPy's is run. ONNX Runtime names the machine in HOME and sends telemetry to its
    maker unless it is told not to: a hospital's gateway tells nobody that it works.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    os.environ.setdefault("CUPY_CACHE_DIR", os.environ.get("TMPDIR", "/tmp"))  # noqa: S108 - a folder, and no file in it


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
