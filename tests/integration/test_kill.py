"""The kill campaign in small: nothing is lost, nothing doubled, and the ledger's equation holds at every look."""

import json
from pathlib import Path

import pytest

from benchmarks.kill import kill

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("left_sockets"),
    # pynetdicom leaves the socket of a connection that the peer refused or reset to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.timeout(900)
def test_every_film_that_was_acknowledged_is_in_one_current_result(tmp_path: Path) -> None:
    out = tmp_path / "kill.json"
    kill(films=20, kills=3, seed=3, pacs=1, disk=0, clock=0, folder=tmp_path / "site", out=out)
    told = json.loads(out.read_text())
    assert told["done"]["kill -9"] >= 3
    assert told["answers"]["0x0000"] == told["acknowledged"] == 20
    assert told["states"] == {"analysed": 20}
    assert told["samples"] > 10
    assert (told["broken equations"], told["lost"], told["duplicates"]) == ([], [], {})
    assert all(told["reconciled"].values())
