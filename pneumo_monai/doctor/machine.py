"""Disk, permissions and clock."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pneumo_monai.doctor.check import Check, good, unknown, wrong
from pneumo_monai.settings import Settings

__all__ = ["check_clock", "check_disk", "check_permissions"]

_GIB = 1 << 30
_LEAST_FILES = 10_000
_CLOCK_SECONDS = 5.0
"""How far the newest row of the ledger may lie in the future: it may have been written by another machine."""


def check_disk(settings: Settings) -> Iterator[Check]:
    """Look at what is left where films and results are kept."""
    folder = _nearest(settings.data_dir)
    try:
        found = os.statvfs(folder)
    except OSError as error:
        yield wrong("disk", f"{folder} cannot be looked at ({error.strerror})", "look at its permissions")
        return
    remedy = "make room, or move data_dir to a larger disk while the service is stopped"
    free, reserved = found.f_bavail * found.f_frsize, settings.listener.limits.disk_reserve_bytes
    left = f"{free / _GIB:.1f} GiB are free for data_dir, {reserved / _GIB:.1f} GiB of them kept as a reserve"
    # Some file systems make room for names as they go, and say 0 of 0.
    if found.f_files and found.f_favail < _LEAST_FILES:
        yield wrong("disk", f"room for {found.f_favail} more files in data_dir", remedy)
    elif free <= reserved:
        yield wrong("disk", f"{left}: films are answered 0xA700", remedy)
    elif free < 2 * reserved:
        yield wrong("disk", left, remedy)
    else:
        yield good("disk", left)


def check_permissions(settings: Settings) -> Iterator[Check]:
    """Look who may read the films, and whether we may write them."""
    folder = settings.data_dir
    if not folder.exists():
        above = _nearest(folder)
        if os.access(above, os.W_OK | os.X_OK):
            yield good("data_dir", f"{folder} is not there yet, the first start makes it")
        else:
            yield wrong("data_dir", f"{folder} is not there, and may not be made by this user", f"make it: {above}")
        return
    try:
        status = folder.stat()
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        yield wrong(
            "data_dir",
            f"{folder} cannot be written ({error.strerror})",
            "give it to the service's user, and ask as that user",
        )
        return
    if status.st_mode & 0o077:
        yield wrong("data_dir", f"{folder} is open to other users of this machine", f"chmod 700 {folder}")
    elif status.st_uid != os.geteuid():
        yield wrong("data_dir", f"{folder} belongs to another user", "ask as the service's user, not as root")
    else:
        yield good("data_dir", f"{folder} is ours alone, and can be written")


def check_clock(newest: float | None) -> Iterator[Check]:
    """Compare the clock with the newest row of the ledger, and ask the system whether something keeps it right.

    Parameters
    ----------
    newest : float or None
        When the newest row was written, seconds since the epoch; None: there is none.
    """
    behind = 0.0 if newest is None else newest - time.time()
    if behind > _CLOCK_SECONDS:
        yield wrong(
            "clock",
            f"the newest row of the ledger lies {behind:.0f} s in the future",
            "set the clock; one that jumped back puts wrong times into results",
        )
    else:
        yield good("clock", "agrees with the ledger" if newest else "nothing in the ledger to compare it with")
    match _is_synchronised():
        case True:
            yield good("time service", "the clock is synchronised")
        case False:
            yield wrong("time service", "the clock is not synchronised", "timedatectl set-ntp true, or start chrony")
        case None:
            yield unknown("time service", "the system does not tell", "on a virtual machine, its host keeps the clock")


def _is_synchronised() -> bool | None:
    command = ["timedatectl", "show", "--property=NTPSynchronized", "--value"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - our own command line
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(done.stdout.strip()) if done.returncode == 0 else None


def _nearest(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder
