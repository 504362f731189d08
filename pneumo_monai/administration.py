"""The commands by which an administrator asks how the service stands; `pneumo_monai.cli` offers them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pneumo_monai.errors import Retryable

if TYPE_CHECKING:
    from pneumo_monai.settings import Settings

__all__ = ["Config", "doctor", "ledger_of"]

Config = Annotated[
    Path, typer.Option("--config", "-c", help="Configuration file (YAML); docs/settings.md has every key.")
]


@contextmanager
def ledger_of(settings: "Settings") -> Iterator[None]:
    """Name the ledger that cannot be reached; what the database says may hold its password."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except SQLAlchemyError as error:
        where = "ledger.url: the database" if settings.ledger.url else f"data_dir: the ledger in {settings.data_dir}"
        raise Retryable(f"{where} cannot be read ({type(error).__name__})") from error


def doctor(config: Config) -> None:
    """Check what a site may get wrong, one line each with the remedy; exit status 0 only if all is well."""
    import logging

    from pneumo_monai import logs
    from pneumo_monai.doctor.run import run_doctor

    # What a start would log of a certificate, or pynetdicom of a peer, is a line of ours here.
    logs.configure("doctor", level="CRITICAL")
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    if not run_doctor(config):
        raise typer.Exit(1)
