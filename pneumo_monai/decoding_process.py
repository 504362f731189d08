"""Decoders in a process of their own: what ends it, or holds it up, costs one film.

``python -m pneumo_monai.decoding_process`` is that process. It gets a film's description and Pixel Data on its standard
input, answers with the stored bits on its standard output, and ends with its input.
"""

import json
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydicom.config import IGNORE
from pydicom.dataset import Dataset
from pydicom.uid import UID

from pneumo_monai.decoding import decode
from pneumo_monai.errors import OutOfResources, Reason, Refused
from pneumo_monai.pixel_description import PixelDescription

__all__ = ["DecodingProcess"]

_log = logging.getLogger(__name__)

_COMMAND = (sys.executable, "-m", "pneumo_monai.decoding_process")

_PROCESSOR_SECONDS = 60.0
"""Of one film: the largest that is decoded takes a tenth of it."""

_MEMORY_BYTES = 4 << 30
"""Address space, 4 GiB: the largest film that is decoded takes a quarter of it."""

_NOT_OF_THE_FILM = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""Signals that others send: a service that is stopped, or a system that lacks memory."""


class DecodingProcess:
    """Decodes what is compressed in another process, which is started again when a film has ended it.

    Parameters
    ----------
    processor_seconds : float
        Of processor time, after which a film is given up.
    command : sequence of str
        What to start.
    """

    def __init__(self, processor_seconds: float = _PROCESSOR_SECONDS, command: Sequence[str] = _COMMAND) -> None:
        self._processor_seconds = processor_seconds
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        with self._lock:
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if self._process is not None:
                self._end(self._process)

    def decode(self, dataset: Dataset, description: PixelDescription) -> NDArray[np.unsignedinteger[Any]]:
        """Decode one film as `pneumo_monai.decoding.decode` does.

        Raises
        ------
        Refused
            As there; or the film ended the process, or took too long.
        OutOfResources
            As there; or the process was ended by somebody else.
        """
        syntax = description.transfer_syntax
        if not syntax.is_transfer_syntax or not syntax.is_encapsulated:
            # Nothing but numpy is needed: moving it would take longer.
            return decode(dataset, description)
        encoded = dataset.PixelData
        asked = {**asdict(description), "seconds": self._processor_seconds, "bytes": len(encoded)}
        with self._lock:
            process = self._process
            if process is not None and process.poll() is not None:
                # It ended between two films: nobody's fault.
                self._end(process)
                process = None
            process = process or self._start()
            assert process.stdin is not None  # noqa: S101 - both were asked for
            assert process.stdout is not None  # noqa: S101
            try:
                process.stdin.write(json.dumps(asked).encode() + b"\n")
                process.stdin.write(encoded)
                process.stdin.flush()
                answer = json.loads(process.stdout.readline())
                decoded = _read(process.stdout, answer.get("bytes", 0))
            except (OSError, ValueError, EOFError):
                status = self._end(process)
                raise self._ended(status) from None
        if "reason" in answer:
            raise Refused(Reason(answer["reason"]), answer["detail"])
        if "lacks" in answer:
            raise OutOfResources(answer["lacks"])
        return np.frombuffer(decoded, answer["dtype"]).reshape(description.rows, description.columns)

    def _start(self) -> "subprocess.Popen[bytes]":
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
        return self._process

    def _end(self, process: "subprocess.Popen[bytes]") -> int:
        self._process = None
        for stream in (process.stdin, process.stdout):
            try:
                if stream is not None:
                    stream.close()
            except OSError:  # what it did not take is not wanted any more
                continue
        try:
            return process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _ended(self, status: int) -> Refused | OutOfResources:
        """Return whose fault it is that the process ended."""
        if status < 0 and -status in _NOT_OF_THE_FILM:
            return OutOfResources(f"the decoder was ended by {signal.Signals(-status).name}")
        if status == -signal.SIGPROF:
            why = f"it was not decoded within {self._processor_seconds:g} s of processor time"
        else:
            how = signal.Signals(-status).name if status < 0 else f"status {status}"
            why = f"the decoder ended with {how}"
        _log.error("a film cannot be decoded: %s", why)
        return Refused(Reason.UNDECODABLE, why)


def _read(stream: IO[bytes], count: int) -> bytes:
    content = stream.read(count)
    if len(content) < count:
        raise EOFError
    return content


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Decode one film after the other until there are no more."""
    while line := requests.readline():
        asked = json.loads(line)
        dataset = Dataset()
        dataset.add_new("PixelData", "OB", _read(requests, asked.pop("bytes")))
        seconds = asked.pop("seconds")
        description = PixelDescription(**{**asked, "transfer_syntax": UID(asked["transfer_syntax"], IGNORE)})
        content = b""
        # The signal's default is to end the process: a decoder returns to no Python that could raise.
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            decoded = decode(dataset, description)
            content = np.ascontiguousarray(decoded).tobytes()
            answer = {"dtype": decoded.dtype.str, "bytes": len(content)}
        except Refused as refused:
            answer = {"reason": refused.reason, "detail": refused.detail}
        except OutOfResources as lack:
            answer = {"lacks": str(lack)}
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.write(content)
        answers.flush()


def _main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Ctrl-C is for the parent, whose end is the end of our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A library that prints must not speak between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    _main()
