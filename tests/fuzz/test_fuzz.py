"""A few seconds of what ``python -m benchmarks.fuzz`` does for an hour: docs/reliability.md has the long runs."""

from collections import deque
from pathlib import Path

from pydicom import dcmread
from pydicom.filebase import DicomBytesIO

from benchmarks.fuzz_corpus import make_corpus
from benchmarks.fuzz_films import FilmMutator
from benchmarks.fuzz_reader import receive_and_read
from benchmarks.fuzz_session import StreamTally, fuzz_streams
from benchmarks.fuzz_supervisor import FilmTally, fuzz_films
from pneumo_monai.decoding import DECODERS

SEED = 20


def test_what_is_broken_was_sound_and_of_every_transfer_syntax() -> None:
    drawn, real = make_corpus()
    assert not real
    assert {receive_and_read(film) for film in drawn} == {("accepted", "accepted")}
    syntaxes = {dcmread(DicomBytesIO(film)).file_meta.TransferSyntaxUID for film in drawn}
    assert syntaxes == set(DECODERS)


def test_a_case_is_found_again_by_its_number() -> None:
    first, second = FilmMutator(*make_corpus(), SEED), FilmMutator(*make_corpus(), SEED)
    cases = [first.case(number) for number in range(20)]
    assert [second.case(number) for number in reversed(range(20))] == cases[::-1]
    assert len(set(cases)) > 15


def test_every_broken_film_is_accounted_for() -> None:
    (tally,) = deque(fuzz_films(SEED, 0, 400), maxlen=1)
    assert isinstance(tally, FilmTally)
    assert tally.faults == []
    assert tally.cases == tally.received.total() == 400
    assert {answer.split()[0] for answer in (*tally.read, *tally.received)} == {"accepted", "refused"}
    assert tally.worst_peak_kib[0] < 2 << 20


def test_a_listener_stands_what_no_sender_should_send(tmp_path: Path) -> None:
    (tally,) = deque(fuzz_streams(SEED, 0, 100, at_once=4, folder=tmp_path), maxlen=1)
    assert isinstance(tally, StreamTally)
    assert tally.faults == []
    assert tally.answers.total() == 100
    assert tally.kept[0] == tally.kept[1] > 0
    assert tally.held[-1]["sockets"] <= tally.held[0]["sockets"]
