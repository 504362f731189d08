"""Whatever fails on the way, a file is whole or absent, and nothing lies beside it."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pneumo_monai.durable import make_directory, write_durably

OLD, NEW = b"old" * 1000, b"new" * 2000


class Crash(BaseException):
    """The process ends here: no `except Exception` may swallow it."""


def everything_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def fail(*_: Any, **__: Any) -> Any:
    raise OSError(28, "No space left on device")


def crash(*_: Any, **__: Any) -> Any:
    raise Crash


@pytest.fixture(params=[fail, crash])
def failure(request: pytest.FixtureRequest):
    return request.param


def test_a_file_is_written_with_its_folders(tmp_path: Path):
    path = tmp_path / "a" / "b" / "film.dcm"
    write_durably(path, b"one", memoryview(b"two"), b"")
    assert path.read_bytes() == b"onetwo"
    assert everything_below(tmp_path) == ["a/b/film.dcm"]


def test_a_second_writing_replaces_the_first(tmp_path: Path):
    path = tmp_path / "film.dcm"
    write_durably(path, OLD)
    write_durably(path, NEW)
    assert path.read_bytes() == NEW
    assert everything_below(tmp_path) == ["film.dcm"]


def test_each_step_comes_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    steps: list[str] = []
    real_fsync, real_rename = os.fsync, Path.rename

    def fsync(descriptor: int) -> None:
        steps.append("fsync directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "fsync file")
        real_fsync(descriptor)

    def rename(path: Path, target: Path) -> Path:
        assert path.parent == target.parent
        assert path.read_bytes() == NEW
        steps.append("rename")
        return real_rename(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    write_durably(tmp_path / "film.dcm", NEW)
    assert steps == ["fsync file", "rename", "fsync directory"]


def test_a_new_folder_is_durable_before_what_lies_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[int] = []
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    path = tmp_path / "a" / "b" / "film.dcm"
    write_durably(path, NEW)
    expected = [tmp_path, tmp_path / "a", path, path.parent]
    assert synced == [entry.stat().st_ino for entry in expected]


@pytest.mark.parametrize("broken", ["fsync", "rename"])
@pytest.mark.parametrize("before", [None, OLD])
def test_what_fails_before_the_rename_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Any, broken: str, before: bytes | None
):
    path = tmp_path / "film.dcm"
    if before is not None:
        path.write_bytes(before)
    monkeypatch.setattr(*((os, "fsync") if broken == "fsync" else (Path, "rename")), failure)
    with pytest.raises((OSError, Crash)):
        write_durably(path, NEW)
    assert everything_below(tmp_path) == ([] if before is None else ["film.dcm"])
    assert before is None or path.read_bytes() == before


class HalfWay:
    """A stream whose second write fails: a disk that fills up."""

    def __init__(self, stream: Any, failure: Any) -> None:
        self._stream, self._failure, self._written = stream, failure, False

    def __enter__(self) -> "HalfWay":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def write(self, part: bytes) -> None:
        if self._written:
            self._failure()
        self._stream.write(part)
        self._stream.flush()
        self._written = True


@pytest.mark.parametrize("before", [None, OLD])
def test_a_write_that_fails_half_way_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Any, before: bytes | None
):
    path = tmp_path / "film.dcm"
    if before is not None:
        path.write_bytes(before)
    real_open = Path.open
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda path, mode: HalfWay(real_open(path, mode), failure))
        with pytest.raises((OSError, Crash)):
            write_durably(path, NEW, NEW)
    assert everything_below(tmp_path) == ([] if before is None else ["film.dcm"])
    assert before is None or path.read_bytes() == before


def test_what_fails_after_the_rename_leaves_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            fail()
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    path = tmp_path / "film.dcm"
    # Not durable yet, so the caller must hear of it; whole all the same.
    with pytest.raises(OSError, match="No space"):
        write_durably(path, NEW)
    assert path.read_bytes() == NEW
    assert everything_below(tmp_path) == ["film.dcm"]


def test_a_folder_that_is_a_file_is_an_error(tmp_path: Path):
    (tmp_path / "a").write_bytes(OLD)
    with pytest.raises(OSError, match=r"exists|Not a directory"):
        write_durably(tmp_path / "a" / "film.dcm", NEW)
    assert everything_below(tmp_path) == ["a"]


def test_many_writers_of_one_name_leave_one_of_their_files(tmp_path: Path):
    path = tmp_path / "study" / "film.dcm"
    contents = [bytes([n]) * 50_000 for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_durably(path, content), contents))
    assert path.read_bytes() in contents
    assert everything_below(tmp_path) == ["study/film.dcm"]


def test_a_reader_never_sees_a_part(tmp_path: Path):
    path = tmp_path / "film.dcm"
    write_durably(path, OLD)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: [write_durably(path, content) for content in (NEW, OLD) * 40])
        seen = {path.read_bytes()}
        while not writing.done():
            seen.add(path.read_bytes())
        writing.result()
    assert seen <= {OLD, NEW}


def test_many_makers_of_one_folder(tmp_path: Path):
    folders = [tmp_path / "a" / "b" / str(n % 3) for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make_directory, folders))
    assert all(folder.is_dir() for folder in folders)
