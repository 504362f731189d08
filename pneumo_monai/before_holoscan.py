"""What must be in place before large libraries are imported: stack, CUDA's runtime library, silence; and which are."""

import ctypes
import gc
import os
import resource
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

__all__ = [
    "OF_DECODING",
    "OF_TRAINING",
    "import_to_listen",
    "import_to_read",
    "keep_to_ourselves",
    "keeping_all",
    "left_out",
    "load_cuda_runtime",
    "raise_stack_limit",
]

_STACK_BYTES = 32 << 20
OF_DECODING = ("PIL", "gdcm", "jpeg_ls", "numpy", "openjpeg", "pylibjpeg", "requests")
"""What pydicom imports where it is installed, for who decodes, or downloads: a quarter of a second, 28 MB."""

OF_TRAINING = ("jsonschema", "matplotlib", "tensorboard", "torchvision")
"""What MONAI imports where it is installed, and no runtime installs: three seconds and 220 MB."""

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


@contextmanager
def left_out(names: Iterable[str]) -> Iterator[None]:
    """Have some libraries seem not to be installed while a context lasts, but those that were imported before."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type] # None: importing it raises ImportError
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def keeping_all() -> Iterator[None]:
    """Look for no garbage while a context imports, and never among what it imported: a tenth of the time goes there."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def import_to_listen() -> None:
    """Import pydicom for a process that decodes no pixels, without decoders."""
    with left_out(OF_DECODING):
        import pydicom  # noqa: F401


def import_to_read() -> None:
    """Import MONAI and torch for a process that reads films: without the libraries of training, and on one thread.

    MONAI imports all of itself at once, and with it every optional library that it finds.

    What torch computes for a film outside of the network takes microseconds. On several threads each of these
    operations waits for all of them, and on a busy machine for one that has no core: that takes longer than reading the
    film.
    """
    with left_out(OF_TRAINING):
        import monai  # noqa: F401
    import torch

    torch.set_num_threads(1)
