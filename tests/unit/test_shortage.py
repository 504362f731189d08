"""A shortage is said once when it begins and once when it is over, whatever the disk does meanwhile."""

import logging
from pathlib import Path

import pytest

from pneumo_monai.reserve import Reserve
from pneumo_monai.shortage import Shortage


@pytest.fixture(autouse=True)
def nobody_started_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)


def test_a_data_folder_that_cannot_be_looked_at_ends_no_shortage_and_no_thread(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    folder, away = tmp_path / "data", tmp_path / "away"
    folder.mkdir()
    now = 0.0
    shortage = Shortage(Reserve(folder, 1), lambda: now)
    for _ in range(2):
        shortage.turned_away("the folder is not there", 1)
    folder.rename(away)
    now = 1000.0
    shortage.look()
    shortage.taken()
    assert [record.message for record in caplog.records] == [
        "films are answered 0xA700 from now on: the folder is not there"
    ]
    away.rename(folder)
    shortage.look()
    assert caplog.records[-1].message == "films are taken again; 2 were answered 0xA700"
