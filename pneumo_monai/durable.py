"""Files that are whole or absent, whatever happens in between."""

import os
from pathlib import Path

__all__ = ["link_durably", "make_directory", "write_durably"]


def write_durably(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file so that a crash leaves either nothing or all of it.

    Temporary name in the same directory, fsync, rename, fsync of the directory. Missing parent directories are made
    durable first.

    Raises
    ------
    OSError
        Nothing stays behind under the temporary name.
    """
    make_directory(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.part")
    try:
        with temporary.open("xb") as stream:
            for part in parts:
                stream.write(part)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _fsync_directory(path.parent)


def link_durably(path: Path, target: Path) -> None:
    """Give a file a second name, so that it stays when its first is taken away; a repeat changes nothing.

    Where the file system has no links, it is copied.

    Raises
    ------
    OSError
        There is no such file, or the disk is full.
    """
    make_directory(target.parent)
    try:
        os.link(path, target)
    except FileExistsError:
        return
    except (PermissionError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        write_durably(target, path.read_bytes())
    else:
        _fsync_directory(target.parent)


def make_directory(path: Path) -> None:
    """Create a directory and its missing parents, each entry durable."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    _fsync_directory(path.parent)


def _fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
