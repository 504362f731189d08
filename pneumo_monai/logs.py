"""One log format for every process: time, process, level, message. No patient data goes in."""

import logging
import os
import sys
import warnings

__all__ = ["configure", "without_text"]


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
