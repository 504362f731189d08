"""Passes of a network whose kernels are recorded once and launched at once (CUDA graphs).

A small network on a fast GPU waits for Python to launch its kernels one by one; a recording is one launch. It knows one
shape and one place in memory: films are copied there, through memory that the GPU reads by itself.
"""

import logging
import threading
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Recordings", "brought"]

_WARM_UP = 3
"""Passes before one is recorded: libraries choose their kernels, and allocate, in the first ones."""

_TOLERANCE = 1e-3
"""What a recorded pass may differ by from one that is not, relative and absolute, for it to be used."""

_recording_one = threading.Lock()

_log = logging.getLogger(__name__)

Forward = Callable[[Tensor], tuple[Tensor, ...]]
Record = Callable[[Forward, torch.Size, torch.device], Forward]


def brought(images: Tensor, device: torch.device) -> Tensor:
    """Bring films to a device, through memory that a GPU reads by itself: from other memory the driver copies twice."""
    return images.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else images


class Recordings:
    """One network's recordings, one a shape, each made when a film first has that shape.

    A pass that cannot be recorded, or comes out otherwise when it is played, is never recorded again, and the log says
    so. Several threads may call it at once; call it in inference mode.

    Parameters
    ----------
    forward : callable
        From films on the GPU to what is made of them there.
    device : torch.device
        A GPU.
    record : callable or None
        From `forward`, a shape and the device to a recording, which is called with films; None: a CUDA graph.
    """

    def __init__(self, forward: Forward, device: torch.device, record: Record | None = None) -> None:
        self._forward, self._device, self._record = forward, device, record or _CudaGraph
        self._recordings: dict[torch.Size, Forward | None] = {}
        self._lock = threading.Lock()

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """Run the network on films in memory; what comes of it is there too."""
        # One at a time: what is recorded has one place for its input.
        with self._lock:
            if images.shape not in self._recordings:
                self._recordings[images.shape] = self._recorded(images)
            recording = self._recordings[images.shape]
            return self._plain(images) if recording is None else recording(images)

    def _plain(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(each.cpu() for each in self._forward(brought(images, self._device)))

    def _recorded(self, images: Tensor) -> Forward | None:
        # Not what was given: of a blank film too many things come out alike.
        noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
        expected = self._plain(noise)
        try:
            # One at a time in a process: another network may be at the same point.
            with _recording_one:
                recording = self._record(self._forward, images.shape, self._device)
            found = recording(noise)
        # Where the memory does not suffice for a recording it may do for the pass.
        except RuntimeError as error:
            _log.warning(
                "the network's pass cannot be recorded on the GPU (%s): it runs as it is", type(error).__name__
            )
            return None
        for played, plain in zip(found, expected, strict=True):
            if not torch.allclose(played, plain, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True):
                _log.warning("a recorded pass of the network gives something else on the GPU: it runs as it is")
                return None
        return recording


class _CudaGraph:
    """The kernels of one pass, and the memory that they read and write."""

    def __init__(self, forward: Forward, shape: torch.Size, device: torch.device) -> None:
        self._device = device
        self._given = torch.zeros(shape, pin_memory=True)
        self._input = torch.zeros(shape, device=device)
        # CUDA records no stream that others wait for: the passes before run where the recording will.
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        self._graph = torch.cuda.CUDAGraph()
        # The outer context gives the thread its stream back where a recording fails, which torch's own does not.
        with torch.cuda.device(device), torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                forward(self._input)
            # Another thread may use the GPU meanwhile, for the other network.
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                self._output = forward(self._input)
        torch.cuda.current_stream(device).wait_stream(stream)
        self._taken = tuple(torch.empty(each.shape, dtype=each.dtype, pin_memory=True) for each in self._output)

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        self._given.copy_(images)
        self._input.copy_(self._given, non_blocking=True)
        self._graph.replay()
        for taken, made in zip(self._taken, self._output, strict=True):
            taken.copy_(made, non_blocking=True)
        torch.cuda.current_stream(self._device).synchronize()
        return tuple(taken.clone() for taken in self._taken)
