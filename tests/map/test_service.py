"""The image as the service: C-ECHO, the probes, a film and its report, and a clean end."""

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydicom import dcmread
from pydicom.uid import generate_uid
from pynetdicom import AE

from pneumo_monai.demo.pacs import AE_TITLE, DemoPacs, demo_pacs
from pneumo_monai.demo.phantoms import write_phantoms
from pneumo_monai.sending import send_all
from tests.map.containers import Image, Running
from tests.peers import free_port, wait_until

pytestmark = pytest.mark.map


def ask(port: int, path: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except OSError:
        return 0, {}


def configure(folder: Path, pacs_port: int) -> dict[str, Any]:
    content = {
        "data_dir": "/var/lib/pneumo-monai",
        "listener": {"ae_title": "PNEUMO", "host": "127.0.0.1", "port": free_port()},
        "destinations": [{"name": "pacs", "ae_title": AE_TITLE, "host": "127.0.0.1", "port": pacs_port}],
        "web": {"host": "127.0.0.1", "port": free_port()},
    }
    folder.chmod(0o755)
    (folder / "data").mkdir()
    os.chown(folder / "data", 1000, 1000)
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    return content


def mounts(folder: Path) -> dict[str, Path]:
    return {"/etc/pneumo-monai/config.yaml": folder / "config.yaml", "/var/lib/pneumo-monai": folder / "data"}


def echo(port: int) -> bool:
    ae = AE("PROBE")
    ae.add_requested_context("1.2.840.10008.1.1")
    association = ae.associate("127.0.0.1", port, ae_title="PNEUMO")
    if not association.is_established:
        return False
    status = association.send_c_echo()
    association.release()
    return bool(status and status.Status == 0)


def test_the_service_reads_what_it_is_sent_and_ends_cleanly(
    image: Image, tmp_path: Path, measured: Callable[[str], None]
):
    films = write_phantoms(tmp_path / "films")
    with demo_pacs(tmp_path / "pacs") as pacs:
        content = configure(tmp_path, pacs.port)
        port, web = content["listener"]["port"], content["web"]["port"]
        command = ("pneumo-monai", "serve", "--config", "/etc/pneumo-monai/config.yaml")
        began = time.monotonic()
        with image.start(*command, mounts=mounts(tmp_path), log=tmp_path / "log") as running:
            wait_until("it is ready", lambda: ask(web, "/ready")[0] == 200, 120)
            measured(f"service, accepts after {time.monotonic() - began:.1f} s")
            assert ask(web, "/health")[1]["status"] == "alive"
            assert echo(port)
            wait_until("the worker is warm", lambda: _warm(web), 180)
            measured(f"service, warm after {time.monotonic() - began:.1f} s")
            for number in (1, 2):
                seconds = _send_and_wait(pacs, films[0], port, tmp_path / f"copy-{number}")
                measured(f"service, warm: {seconds:.2f} s from the film to its report in the PACS")
            _ends(running)


def _warm(web: int) -> bool:
    return any(process["name"] == "worker-0" and process["ready"] for process in ask(web, "/ready")[1]["processes"])


def _send_and_wait(pacs: DemoPacs, film: Path, port: int, folder: Path) -> float:
    dataset = dcmread(film)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(dataset, keyword, generate_uid())
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    folder.mkdir()
    dataset.save_as(folder / "film.dcm", enforce_file_format=True)
    began = time.monotonic()
    assert send_all([folder / "film.dcm"], to=f"PNEUMO@127.0.0.1:{port}", calling_ae_title="SCANNER") == 0
    wait_until("the report is in the PACS", lambda: _reports(pacs, dataset.StudyInstanceUID), 60)
    return time.monotonic() - began


def _reports(pacs: DemoPacs, study: str) -> bool:
    found = [dcmread(file) for file in pacs.files()]
    return any(dataset.StudyInstanceUID == study and dataset.Modality == "SR" for dataset in found)


def _ends(running: Running) -> None:
    status, seconds = running.terminate()
    assert status == 0, running.log.read_text()[-2000:]
    assert seconds < 30


def test_a_wrong_configuration_says_which_key(image: Image, tmp_path: Path):
    configure(tmp_path, 4242)
    (tmp_path / "config.yaml").write_text("data_dir: /var/lib/pneumo-monai\nlistener: {prot: 1}\n")
    done = image.run("pneumo-monai", "serve", "--config", "/etc/pneumo-monai/config.yaml", mounts=mounts(tmp_path))
    assert done.returncode == 78
    assert "listener.prot" in done.stderr


def test_a_worker_alone_keeps_a_file_while_it_is_warm(image: Image, tmp_path: Path):
    configure(tmp_path, 4242)
    arguments = ("--file=/var/lib/pneumo-monai/ready", "worker", "--config=/etc/pneumo-monai/config.yaml", "--slot=w-0")
    how = {"mounts": mounts(tmp_path), "entrypoint": ["python3", "-m", "app_package.probed"]}
    with image.start(*arguments, log=tmp_path / "log", **how) as running:
        wait_until("the worker is warm", (tmp_path / "data" / "ready").exists, 180)
        status, seconds = running.terminate()
    assert status == 0, running.log.read_text()[-2000:]
    assert seconds < 30
    assert not (tmp_path / "data" / "ready").exists()
