"""Who is suspected when a worker dies, and who is found guilty: never a film that was at hand by chance."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from pneumo_monai.errors import OutOfResources, Reason
from pneumo_monai.hands import Hands
from pneumo_monai.quarantine import Death, read_apart
from pneumo_monai.reading_process import ReadingProcess
from pneumo_monai.settings import Settings
from pneumo_monai.study import Film, Study
from pneumo_monai.suspects import Suspects
from pneumo_monai.tables import connect

SLOT = "worker/0"


def study_of(*keys: int) -> Study:
    return Study(study_instance_uid="1.2", films=tuple(Film(path=Path(f"{key}.dcm"), key=key) for key in keys))


def test_what_is_at_hand_when_a_process_dies_is_found_at_the_next_start(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, pathlib\n"
        "from pneumo_monai.hands import Hands\n"
        f"hands = Hands(pathlib.Path(sys.argv[1]), {SLOT!r})\n"
        "with hands.holding([1000, 2000]):\n"
        "    pass\n"
        "with hands.holding([7]):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert Hands(tmp_path, SLOT).left == {7}
    assert Hands(tmp_path, "worker-1").left == frozenset()
    hands = Hands(tmp_path, SLOT)
    hands.forget()
    assert Hands(tmp_path, SLOT).left == frozenset()


def test_threads_have_films_at_hand_at_the_same_time(tmp_path: Path) -> None:
    hands = Hands(tmp_path, SLOT)
    begun, end = threading.Event(), threading.Event()

    def hold() -> None:
        with hands.holding([1, 2]):
            begun.set()
            end.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert begun.wait(60)
    with hands.holding([3]):
        assert Hands(tmp_path, SLOT).left == {1, 2, 3}
        assert hands.longest() > 0
    assert Hands(tmp_path, SLOT).left == {1, 2}
    end.set()
    thread.join()
    assert Hands(tmp_path, SLOT).left == frozenset()
    assert hands.longest() == 0.0
    hands.close()


@pytest.mark.parametrize("content", [b"", b"[1", b"{}", b"\0\0\0", b'["a"]'])
def test_a_mark_that_cannot_be_read_suspects_nobody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "hands").mkdir()
    (tmp_path / "hands" / "s").write_bytes(content)
    assert Hands(tmp_path, "s").left == frozenset()


def test_suspicion_stays_until_it_is_lifted(tmp_path: Path) -> None:
    suspects = Suspects(connect(f"sqlite:///{tmp_path / 'ledger.sqlite'}"))
    suspects.suspect([])
    suspects.suspect([1, 2])
    suspects.suspect([2, 3])
    assert suspects.among([0, 1, 2, 3]) == {1, 2, 3}
    suspects.clear([2])
    assert suspects.among([1, 2]) == {1}


class Trials:
    """Processes that a film ends: `deadly` by itself, and all of `together` when they are in one process."""

    def __init__(self, deadly: dict[int, int | None], together: frozenset[int] = frozenset()) -> None:
        self.deadly = deadly
        self.together = together
        self.studies: list[list[int]] = []

    def __call__(self, study: Study) -> Study | Death:
        read = [film.key for film in study.films if film.refused is None]
        self.studies.append(read)
        for key in read:
            if key in self.deadly:
                return Death(films=frozenset({key}), signal=self.deadly[key], how=f"because of {key}")
        if self.together and self.together <= set(read):
            return Death(films=frozenset(film.key for film in study.films), signal=signal.SIGABRT, how="together")
        return study


def guilty(study: Study) -> list[int]:
    for film in study.films:
        assert film.refused is None or film.refused.reason is Reason.QUARANTINED
    return [film.key for film in study.films if film.refused is not None]


def test_an_innocent_suspect_is_read_as_any_other() -> None:
    assert guilty(read_apart(study_of(1, 2), Trials({}))) == []


@pytest.mark.parametrize("how", [signal.SIGSEGV, signal.SIGABRT, None])
def test_the_film_at_hand_is_guilty_and_the_others_are_read(how: int | None) -> None:
    trials = Trials({2: how, 4: how})
    assert guilty(read_apart(study_of(1, 2, 3, 4), trials)) == [2, 4]
    assert trials.studies == [[1, 2, 3, 4], [1, 3, 4], [1, 3]]


def test_of_several_films_at_hand_each_is_tried_alone() -> None:
    def attempt(study: Study) -> Study | Death:
        keys = frozenset(film.key for film in study.films if film.refused is None)
        return Death(films=keys, signal=signal.SIGSEGV, how="report") if 2 in keys else study

    assert guilty(read_apart(study_of(1, 2, 3), attempt)) == [2]


def test_films_that_end_a_process_only_together_are_refused_together() -> None:
    assert guilty(read_apart(study_of(1, 2, 3), Trials({}, frozenset({1, 2})))) == [1, 2, 3]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_process_that_somebody_stopped_condemns_nobody(how: int) -> None:
    with pytest.raises(OutOfResources):
        read_apart(study_of(1), Trials({1: how}))


def test_a_process_that_had_nothing_at_hand_condemns_nobody() -> None:
    with pytest.raises(OutOfResources, match="status 1"):
        read_apart(study_of(1), lambda _: Death(films=frozenset(), signal=None, how="status 1"))


def test_one_kill_condemns_nobody_and_three_in_a_row_do() -> None:
    kills = [1, 2]

    def attempt(study: Study) -> Study | Death:
        return Death(films=frozenset({1}), signal=signal.SIGKILL, how="SIGKILL") if kills and kills.pop() else study

    assert guilty(read_apart(study_of(1), attempt)) == []
    trials = Trials({1: signal.SIGKILL})
    assert guilty(read_apart(study_of(1), trials)) == [1]
    assert trials.studies == [[1], [1], [1], []]


def _ends_by(number: int, pipe: Connection) -> None:
    pipe.send([5])
    os.kill(os.getpid(), number)


def crashes(pipe: Connection, settings: Settings, study: Study) -> None:
    if any(film.key == 5 and film.refused is None for film in study.films):
        _ends_by(signal.SIGSEGV, pipe)
    pipe.send(study)


def hangs(pipe: Connection, settings: Settings, study: Study) -> None:
    if any(film.key == 5 and film.refused is None for film in study.films):
        pipe.send([5])
        time.sleep(600)
    pipe.send(study)


def raves(pipe: Connection, settings: Settings, study: Study) -> None:
    if any(film.key == 5 and film.refused is None for film in study.films):
        pipe.send([5])
        pipe.send_bytes(b"no pickle")
        time.sleep(600)
    pipe.send(study)


def does_not_start(pipe: Connection, settings: Settings, study: Study) -> None:
    sys.exit(3)


@pytest.mark.parametrize(
    ("target", "how"),
    [(crashes, "ended the process with SIGSEGV"), (hangs, "more than 0.5 s"), (raves, "into disorder")],
)
def test_a_process_that_ends_hangs_or_raves_names_its_film(
    tmp_path: Path, target: Callable[[Connection, Settings, Study], None], how: str
) -> None:
    process = ReadingProcess(Settings(data_dir=tmp_path), 0.5, target)
    read = process.read(study_of(4, 5))
    assert guilty(read) == [5]
    assert read.films[1].refused is not None
    assert how in read.films[1].refused.detail
    assert replace(read.films[1], refused=None).is_open


def test_a_process_that_does_not_start_is_tried_again_later(tmp_path: Path) -> None:
    with pytest.raises(OutOfResources, match="status 3"):
        ReadingProcess(Settings(data_dir=tmp_path), 0.5, does_not_start).read(study_of(1))
