"""The commands by which an administrator asks how the service stands; `pneumo_monai.cli` offers them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pneumo_monai.errors import Retryable

if TYPE_CHECKING:
    from pneumo_monai.settings import Settings

__all__ = ["Config", "doctor", "ledger_of", "reconcile", "retry"]

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


def reconcile(
    config: Config,
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Day on which films were received.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Account for the films of a day; exit status 1 when a film is missing or a result is undeliverable."""
    from pneumo_monai.reconcile import reconcile as account
    from pneumo_monai.settings import load_settings

    settings = load_settings(config)
    with ledger_of(settings):
        is_well = account(settings, day.date(), as_json=as_json)
    if not is_well:
        raise typer.Exit(1)


def retry(
    config: Config,
    destination: Annotated[str | None, typer.Option(help="Only what goes to this destination; default: all.")] = None,
    study: Annotated[str | None, typer.Option(help="Only this Study Instance UID; default: all.")] = None,
) -> None:
    """Try to deliver again, now, what is undeliverable or waits; the age of both counts from now."""
    from pneumo_monai import logs
    from pneumo_monai.revising import ask_for_another_attempt
    from pneumo_monai.settings import load_settings

    logs.configure("retry")
    settings = load_settings(config)
    with ledger_of(settings):
        for line in ask_for_another_attempt(settings, destination=destination, study=study):
            typer.echo(line)
