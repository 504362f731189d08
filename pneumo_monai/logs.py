"""One log format for every process: time, process, level, message. No patient data goes in."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pneumo_monai.errors import Broken, PneumoMonaiError, Retryable

__all__ = ["configure", "name_of", "own_text_alone", "without_text"]


def configure(process: str, level: str = "INFO") -> None:
    """Send the log of this process to standard error.

    Parameters
    ----------
    process : str
        Name in each line: serve, listener, worker-0.
    level : str
        Lowest level that is written for this package; libraries are heard from WARNING on.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING,
        format=f"%(asctime)s {process} %(levelname)s %(message)s",
        force=True,
    )
    logging.getLogger("pneumo_monai").setLevel(level)
    # pynetdicom writes whole data sets at DEBUG; pydicom quotes values it finds invalid, a patient's among them.
    logging.getLogger("pynetdicom").setLevel(logging.ERROR)
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: not record.name.startswith("pydicom"))
    warnings.filterwarnings("ignore", module=r"pydicom\.|highdicom\.")
    # Holoscan logs through its own library, to standard output, and warns wherever there is no GPU.
    os.environ.setdefault("HOLOSCAN_LOG_LEVEL", "ERROR")


def without_text(error: BaseException) -> BaseException:
    """Return an error of the same name and traceback, without the text: that may quote what a patient's file says."""
    return RuntimeError(type(error).__name__).with_traceback(error.__traceback__)


@contextmanager
def own_text_alone(*retryable: type[Exception]) -> Iterator[None]:
    """Let no text out but our own, where what is raised is kept.

    Raises
    ------
    PneumoMonaiError
        As it is: our texts name no patient.
    Retryable
        Instead of one of `retryable`, with its name for a text.
    Broken
        Instead of any other error, with its name for a text.
    """
    try:
        yield
    except PneumoMonaiError:
        raise
    except retryable as error:
        raise Retryable(type(error).__name__).with_traceback(error.__traceback__) from None
    except Exception as error:  # noqa: BLE001 - the same error goes on, under its name
        raise Broken(type(error).__name__).with_traceback(error.__traceback__) from None


def name_of(error: Exception) -> str:
    """Name an error that `own_text_alone` let out."""
    return str(error) if isinstance(error, Broken) else type(error).__name__
