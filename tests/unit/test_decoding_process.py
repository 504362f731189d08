"""A film that ends its decoder is refused, and the next is decoded."""

import os
import signal
import sys

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGLossless, RLELossless

from pneumo_monai.decoding import decode
from pneumo_monai.decoding_process import DecodingProcess
from pneumo_monai.errors import OutOfResources, Reason, Refused
from pneumo_monai.pixel_description import check_pixel_description
from pneumo_monai.pixels import read_film
from tests.codestreams import JPEG_LOSSLESS, hill
from tests.films import make_film


def lossless(codestream: bytes = JPEG_LOSSLESS) -> Dataset:
    film = make_film(rows=40, columns=32, bits_stored=12, transfer_syntax=JPEGLossless)
    film.PixelData = encapsulate([codestream])
    return film


def ended_by(number: int) -> DecodingProcess:
    program = f"import os, sys; sys.stdin.buffer.readline(); os.kill(os.getpid(), {number})"
    return DecodingProcess(command=[sys.executable, "-c", program])


def test_a_film_is_the_same_wherever_it_is_decoded() -> None:
    signed = hill().astype(np.int16) - 2048
    films = [lossless(), make_film(bits_stored=12), make_film(pixels=signed, bits_stored=12)]
    for syntax in (RLELossless, JPEG2000Lossless):
        film = make_film(pixels=signed, bits_stored=12)
        film.compress(syntax, generate_instance_uid=False)
        films.append(film)
    with DecodingProcess() as process:
        for film in films:
            description = check_pixel_description(film)
            there, here = process.decode(film, description), decode(film, description)
            assert there.dtype == here.dtype
            np.testing.assert_array_equal(there, here)
            np.testing.assert_array_equal(read_film(film, process.decode), read_film(film))


def test_a_refusal_comes_back_as_it_was_said() -> None:
    with DecodingProcess() as process, pytest.raises(Refused, match="no sound JPEG header") as refused:
        read_film(lossless(b"<!DOCTYPE html>"), process.decode)
    assert refused.value.reason is Reason.UNDECODABLE


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_a_crash_costs_one_film(number: int) -> None:
    with ended_by(number) as process, pytest.raises(Refused, match=signal.Signals(number).name) as refused:
        read_film(lossless(), process.decode)
    assert refused.value.reason is Reason.UNDECODABLE


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_end_that_others_made_is_no_fault_of_the_film(number: int) -> None:
    with ended_by(number) as process, pytest.raises(OutOfResources):
        read_film(lossless(), process.decode)


def test_the_next_film_gets_a_new_process() -> None:
    with DecodingProcess() as process:
        read_film(lossless(), process.decode)
        first = process._process
        assert first is not None
        os.kill(first.pid, signal.SIGSEGV)
        first.wait(10)
        assert read_film(lossless(), process.decode).shape == (40, 32)
    assert first.returncode == -signal.SIGSEGV


def test_a_film_that_takes_too_long_is_given_up() -> None:
    film = make_film(pixels=np.random.default_rng(1).integers(0, 4096, (1024, 1024), np.uint16), bits_stored=12)
    film.compress(JPEG2000Lossless, generate_instance_uid=False)
    with DecodingProcess(processor_seconds=0.02) as process, pytest.raises(Refused, match="processor time") as refused:
        read_film(film, process.decode)
    assert refused.value.reason is Reason.UNDECODABLE
