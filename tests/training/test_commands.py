"""The command lines: help, and one line for what the user must change."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from training.entry import start
from training.evaluate import evaluate
from training.export import export
from training.recipe import Recipe
from training.run import LAST
from training.train import train


def call(command: Callable[..., None], *arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    with pytest.raises(SystemExit) as stopped:
        start(command)
    return int(stopped.value.code or 0)


@pytest.mark.parametrize("command", [train, evaluate, export])
def test_help_describes_every_option(
    command: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert call(command, "--help", monkeypatch=monkeypatch) == 0
    shown = capsys.readouterr().out
    for name in command.__annotations__:
        if name != "return":
            assert f"--{ {'settings': 'set'}.get(name, name).replace('_', '-') }" in shown


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (train, ["--data", "nowhere", "--out", "OUT", "--weights", "none"], "stage_2_train_images/ is missing"),
        (train, ["--data", "nowhere", "--out", "OUT", "--resume"], "last.ckpt is missing"),
        (train, ["--data", "nowhere", "--out", "OUT", "--set", "size=100"], "size: "),
        (train, ["--data", "nowhere", "--out", "OUT", "--set", "sise=96"], "sise is no key; the keys are size, epochs"),
        (train, ["--data", "nowhere", "--out", "OUT", "--set", "size"], "give KEY=VALUE"),
        (train, ["--data", "nowhere", "--out", "OUT", "--strategy", "magic"], "--strategy"),
        (evaluate, ["--run", "OUT"], "is no folder of a run"),
        (evaluate, ["--run", "OUT", "--out", "OUT"], "leave --bundle, --data, --out"),
        (evaluate, ["--bundle", "OUT"], "give --bundle, --data and --out, or --run"),
        (evaluate, ["--bundle", "OUT", "--data", "nowhere", "--out", "OUT"], "is no MONAI Bundle"),
        (evaluate, ["--bundle", "OUT", "--data", "x", "--out", "OUT", "--mix", "Normal"], "CLASS=SHARE"),
        (export, ["--run", "OUT", "--out", "OUT/bundle"], "is no folder of a run"),
    ],
)
def test_what_the_user_must_change_is_one_line_and_status_2(
    command: Callable[..., None],
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    places = [argument.replace("OUT", str(tmp_path)) for argument in arguments]
    with caplog.at_level(logging.ERROR):
        assert call(command, *places, monkeypatch=monkeypatch) == 2
    assert message in caplog.text
    assert "Traceback" not in caplog.text


def test_a_run_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run.json").touch()
    assert call(train, "--data", "nowhere", "--out", str(tmp_path), monkeypatch=monkeypatch) == 2
    assert "already holds a run" in caplog.text


def test_a_run_goes_on_with_its_own_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / LAST).parent.mkdir()
    (tmp_path / LAST).touch()
    Recipe(size=64).write(tmp_path / "recipe.yaml")
    arguments = ["--data", "nowhere", "--out", str(tmp_path), "--resume", "--set", "size=96", "--set", "seed=0"]
    assert call(train, *arguments, monkeypatch=monkeypatch) == 2
    assert "was begun with another size; leave" in caplog.text
