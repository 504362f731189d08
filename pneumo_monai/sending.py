"""`pneumo-monai send`: files to an application entity, one association a study."""

import re
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from pneumo_monai.errors import ConfigurationError, DeliveryError, Refused, Retryable
from pneumo_monai.sender import send_files
from pneumo_monai.spool import identify

__all__ = ["send_all"]

_PEER = re.compile(r"^(?P<title>[^@\\]{1,16})@(?P<host>[^:\s]+|\[[0-9a-fA-F:]+\]):(?P<port>[0-9]{1,5})$")


def send_all(files: list[Path], *, to: str, calling_ae_title: str) -> int:
    """Send files and folders of files; print what was not taken and return how many that were.

    Raises
    ------
    ConfigurationError
        `to` is no AETITLE@host:port.
    """
    peer = _PEER.match(to)
    if peer is None or not 0 < int(peer["port"]) < 65536:
        raise ConfigurationError(f"--to: {to!r} is no AETITLE@host:port such as PACS@127.0.0.1:4242")
    console = Console(stderr=True)
    studies, failed = _by_study(_expand(files), console)
    if not studies and not failed:
        raise ConfigurationError(f"{', '.join(map(str, files))}: holds no file; name the DICOM files to send")
    total = sum(map(len, studies))
    with Progress(console=console) as progress:
        task = progress.add_task("sending", total=total)
        for study in studies:
            try:
                send_files(
                    study,
                    host=peer["host"].strip("[]"),
                    port=int(peer["port"]),
                    called_ae_title=peer["title"],
                    calling_ae_title=calling_ae_title,
                )
            except DeliveryError as error:
                more = f" and {len(study) - 1} more" if study[1:] else ""
                console.print(f"{error}: {study[0].name}{more}", style="red", markup=False)
                failed += len(study)
            progress.advance(task, len(study))
    return failed


def _expand(files: list[Path]) -> list[Path]:
    found: list[Path] = []
    for file in files:
        found += sorted(inner for inner in file.rglob("*") if inner.is_file()) if file.is_dir() else [file]
    return found


def _by_study(files: list[Path], console: Console) -> tuple[list[list[Path]], int]:
    studies: dict[str, list[Path]] = {}
    failed = 0
    for file in files:
        try:
            studies.setdefault(identify(file.read_bytes()).study_instance_uid, []).append(file)
        except (Refused, Retryable, OSError) as error:
            console.print(f"{file.name}: {error}", style="red", markup=False)
            failed += 1
    return list(studies.values()), failed
