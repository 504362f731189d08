"""What is kept free of the disk: no film may take the room that the ledger and the results of other films need."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pneumo_monai.errors import OutOfResources

__all__ = ["Reserve"]

_RESERVED_FILES = 1000
"""File names kept free: results, and the ledger's write-ahead log, need some too."""


class Reserve:
    """The free room of a data folder, and the part of it that no film may take.

    The listener asks before it writes a film; worker and ledger do not ask, so that what was taken is finished.

    Parameters
    ----------
    folder : pathlib.Path
        `data_dir`; it exists.
    reserved : int
        Bytes that stay free; 0: none.
    """

    def __init__(self, folder: Path, reserved: int) -> None:
        self._folder = folder
        self.reserved = reserved
        self._promised = 0
        self._lock = threading.Lock()

    def free(self) -> int:
        """Return the bytes that this user may still write.

        Raises
        ------
        OSError
            The folder cannot be looked at.
        """
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize

    def has_room_for(self, size: int) -> bool:
        """Whether a film of so many bytes leaves the reserve free.

        Raises
        ------
        OSError
            The folder cannot be looked at.
        """
        if self.reserved == 0:
            return True
        found = os.statvfs(self._folder)
        # Some file systems make room for names as they go, and say 0 of 0.
        has_names = not found.f_files or found.f_favail > _RESERVED_FILES
        return has_names and found.f_bavail * found.f_frsize - self._promised - size >= self.reserved

    @contextmanager
    def room_for(self, size: int) -> Iterator[None]:
        """Hold room for a film while it is written: films that arrive at once do not share the same room.

        Raises
        ------
        OutOfResources
            It would take of the reserve.
        OSError
            The folder cannot be looked at.
        """
        with self._lock:
            if not self.has_room_for(size):
                raise OutOfResources(
                    f"data_dir has no more than its reserve of {self.reserved >> 20} MiB left "
                    "(listener.limits.disk_reserve_bytes): make room"
                )
            self._promised += size
        try:
            yield
        finally:
            with self._lock:
                self._promised -= size
