"""``python -m benchmarks.fuzz_reader SEED FIRST END [DATA]``: read broken films, and say what became of each.

A process of its own: a film that ends it is known by the number that was begun and not ended.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.fuzz_corpus import make_corpus
from benchmarks.fuzz_films import FilmMutator
from pneumo_monai.errors import OutOfResources, Refused
from pneumo_monai.gate import check
from pneumo_monai.instances import parse_instance
from pneumo_monai.pixels import read_film
from pneumo_monai.spool import identify

__all__ = ["MEMORY_BYTES", "receive_and_read"]

MEMORY_BYTES = 6 << 30
"""Address space of the reader, 6 GiB: a film that asks for more ends in `OutOfResources`, which counts as a fault."""


def receive_and_read(encoded: bytes) -> tuple[str, str]:
    """Return what the listener, and what the worker makes of a file: accepted, a reason, or the name of an error."""
    return _outcome(lambda: identify(encoded)), _outcome(lambda: _read(encoded))


def _read(encoded: bytes) -> None:
    dataset = parse_instance(encoded)
    check(dataset)
    read_film(dataset)


def _outcome(act: Callable[[], Any]) -> str:
    try:
        act()
    except Refused as refused:
        return f"refused {refused.reason}"
    except OutOfResources:
        return "failed OutOfResources"
    except RecursionError:  # as pneumo_monai.study has it
        return "refused unparseable"
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        return f"failed {type(error).__name__}"
    return "accepted"


def _peak_kib() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Read the cases of a range."""
    seed, first, end = map(int, sys.argv[1:4])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    mutator = FilmMutator(*make_corpus(Path(sys.argv[4]) if len(sys.argv) > 4 else None), seed)
    for number in range(first, end):
        encoded = mutator.case(number)
        with suppress(OSError):  # where the kernel allows, the peak is that of this film alone
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        wall, processor = time.monotonic(), time.process_time()
        received, read = receive_and_read(encoded)
        seconds = {"wall": time.monotonic() - wall, "processor": time.process_time() - processor}
        answer = {"case": number, "received": received, "read": read, **seconds, "peak_kib": _peak_kib()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
