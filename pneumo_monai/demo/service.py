"""The service that the demo starts for itself, in a process of its own, as a site would."""

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from rich.console import Console

from pneumo_monai.demo.pacs import AE_TITLE
from pneumo_monai.entries import DeliveryState, FilmState
from pneumo_monai.errors import Broken
from pneumo_monai.overview import StudyOverview, overview
from pneumo_monai.records import Records
from pneumo_monai.settings import Settings, load_settings
from pneumo_monai.tables import connect

__all__ = ["demo_service", "wait_for_answers"]

_START_SECONDS = 120.0
_SECONDS_A_FILM = 10.0
_STUDIES_SHOWN = 10_000


@contextmanager
def demo_service(folder: Path, pacs_port: int, console: Console) -> Iterator[Settings]:
    """Run `pneumo-monai serve` on free ports until the context ends; its log goes to ``service.log``.

    Raises
    ------
    Broken
        It does not become ready, or does not end cleanly; the message names the log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config, log = folder / "config.yaml", folder / "service.log"
    config.write_text(
        yaml.safe_dump(
            {
                "data_dir": str(folder / "data"),
                "listener": {"ae_title": "PNEUMO", "host": "127.0.0.1", "port": _free_port()},
                "destinations": [
                    {"name": "demo-pacs", "ae_title": AE_TITLE, "host": "127.0.0.1", "port": pacs_port},
                ],
                "web": {"host": "127.0.0.1", "port": _free_port()},
            }
        ),
        encoding="utf-8",
    )
    settings = load_settings(config)
    command = [sys.executable, "-m", "pneumo_monai", "serve", "--config", str(config)]
    with log.open("wb") as stream:
        service = subprocess.Popen(command, stdout=stream, stderr=stream)  # noqa: S603 - our own command line
    try:
        seconds = _wait_until_ready(service, settings, log)
        console.print(
            f"The listener takes films after {seconds:.1f} s; the model is loading meanwhile. "
            f"Status page: http://{settings.web.host}:{settings.web.port}/",
            highlight=False,
        )
        yield settings
    finally:
        service.send_signal(signal.SIGTERM)
        code = service.wait(60)
    if code != 0:
        raise Broken(f"the service ended with status {code}; {log} says why")


def wait_for_answers(settings: Settings, console: Console) -> list[StudyOverview]:
    """Wait until everything received was answered and delivered, and return it, oldest first.

    Raises
    ------
    Broken
        It took too long.
    """
    records = Records(connect(settings.ledger_url))
    deadline = time.monotonic() + _START_SECONDS + _SECONDS_A_FILM * sum(records.counts().values())
    with console.status("waiting for the reports"):
        while time.monotonic() < deadline:
            studies = overview(records, _STUDIES_SHOWN)
            if not any(_is_waiting(study) for study in studies):
                return studies[::-1]
            time.sleep(0.1)
    raise Broken(f"not everything was answered in time: {records.counts()}; the log in the service folder says why")


def _is_waiting(study: StudyOverview) -> bool:
    return any(film.state is FilmState.IN_PROGRESS for film in study.films) or any(
        delivery.state is DeliveryState.PENDING for delivery in study.deliveries
    )


def _wait_until_ready(service: subprocess.Popen[bytes], settings: Settings, log: Path) -> float:
    began = time.monotonic()
    url = f"http://{settings.web.host}:{settings.web.port}/ready"
    while time.monotonic() - began < _START_SECONDS:
        if service.poll() is not None:
            raise Broken(f"the service ended with status {service.returncode}; {log} says why")
        try:
            with urllib.request.urlopen(url, timeout=1):
                return time.monotonic() - began
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise Broken(f"the service did not become ready within {_START_SECONDS:.0f} s; {log} says why")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
