"""The load benchmark runs, and counts what it sent."""

import json
from pathlib import Path

from benchmarks.load import load


def test_films_are_sent_among_slow_peers(tmp_path: Path) -> None:
    out = tmp_path / "load.json"
    load(films=12, associations=3, slow=6, side=32, look_after=5, folder=tmp_path / "listener", out=out)
    told = json.loads(out.read_text())
    assert told["answers"] == {"Success": 12}
    assert told["kept"] == {"films in the ledger": 13, "their files": 13}
    assert told["slow_peers"]["connected"] == 6
    assert [held["films"] for held in told["held"]][-1] == 13
    assert told["held_when_all_are_gone"]["sockets"] <= told["held"][0]["sockets"]
