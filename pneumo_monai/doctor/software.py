"""Versions, model and device, ledger."""

import platform
import re
import sys
from collections.abc import Collection, Iterator
from importlib.metadata import PackageNotFoundError, requires, version

import sqlalchemy as sa

from pneumo_monai import __version__
from pneumo_monai.bundle import PACKAGED, Bundle
from pneumo_monai.doctor.check import Check, good, unknown, wrong
from pneumo_monai.entries import DeliveryState
from pneumo_monai.errors import PneumoMonaiError
from pneumo_monai.settings import Settings
from pneumo_monai.tables import DELIVERIES, FILMS, SCHEMA_VERSION, found_version, look_at

__all__ = ["check_ledger", "check_model", "check_versions"]

_NAMED = ("torch", "monai", "holoscan-cu13", "monai-deploy-app-sdk", "pydicom", "pynetdicom", "highdicom", "dbos")


def check_versions() -> Iterator[Check]:
    """Look whether everything that this package needs is installed, and say in which versions."""
    needed = [re.split(r"[\[<>=~!; ]", line)[0] for line in requires("pneumo-monai") or () if "extra ==" not in line]
    if missing := [name for name in needed if _version(name) is None]:
        yield wrong("packages", f"missing: {', '.join(missing)}", "install pneumo-monai again, as docs/install.md says")
    if sys.version_info[:2] not in {(3, 11), (3, 12)}:
        yield wrong("python", platform.python_version(), "install Python 3.11 or 3.12")
    versions = ", ".join(f"{name} {found}" for name in _NAMED if (found := _version(name)))
    yield good("versions", f"pneumo-monai {__version__}, Python {platform.python_version()}, {versions}")


def check_model(settings: Settings) -> Iterator[Check]:
    """Load the model as a worker does, on the device it would choose, and let it read a blank film."""
    try:
        bundle = Bundle(settings.model.path or PACKAGED)
        yield good("model", f"{bundle.name} {bundle.version}, its files are those that its metadata names")

        from pneumo_monai.engine import open_engine

        engine = open_engine(bundle, settings.model)
        engine.warm_up()
    except PneumoMonaiError as error:
        yield wrong("model", str(error))
        return
    except Exception as error:  # noqa: BLE001 - a driver, or a library that does not fit it, raises as it pleases
        yield wrong(
            "device",
            f"the model cannot read ({type(error).__name__})",
            "look at nvidia-smi; or set model.device to cpu",
        )
        return
    yield good("device", f"the model reads on {_named(engine.device)}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _named(device: object) -> str:
    import torch

    return f"{device}, {torch.cuda.get_device_name()}" if str(device) == "cuda" else str(device)


def check_ledger(settings: Settings) -> tuple[list[Check], float | None]:
    """Look at the ledger without changing it; return also when its newest row was written."""
    if settings.ledger.url is None and not (settings.data_dir / "ledger.sqlite").exists():
        return [good("ledger", "there is none yet, the first start makes it")], None
    try:
        engine = look_at(settings.ledger_url)
        try:
            return _look(engine, {peer.name for peer in settings.destinations})
        finally:
            engine.dispose()
    except sa.exc.SQLAlchemyError as error:
        # Its text may hold the password.
        where = "ledger.url" if settings.ledger.url else "data_dir"
        return [
            wrong(
                "ledger",
                f"cannot be read ({type(error).__name__})",
                f"correct {where}, start the database, and ask as the service's user",
            )
        ], None


def _look(engine: sa.Engine, destinations: Collection[str]) -> tuple[list[Check], float | None]:
    with engine.connect() as connection:
        found = found_version(connection)
        if found > SCHEMA_VERSION:
            return [
                wrong(
                    "ledger",
                    f"its tables have version {found}, this program knows {SCHEMA_VERSION}",
                    "install the later version again, or name another ledger",
                )
            ], None
        if found == 0:
            return [good("ledger", "is empty, the first start makes its tables")], None
        newest = connection.execute(sa.select(sa.func.max(FILMS.c.received_at))).scalar()
        left = _left_behind(connection, destinations) if found == SCHEMA_VERSION else []
    if found < SCHEMA_VERSION:
        return [
            unknown(
                "ledger",
                f"its tables have version {found}, the next start brings them up to {SCHEMA_VERSION}",
                "copy the ledger first: no older program opens it afterwards",
            )
        ], newest
    return [*left, good("ledger", f"its tables have version {found}")], newest


def _left_behind(connection: sa.Connection, destinations: Collection[str]) -> list[Check]:
    """Say what waits for a destination that is no longer in the configuration."""
    waiting = (
        sa.select(DELIVERIES.c.destination, sa.func.count())
        .where(DELIVERIES.c.state == DeliveryState.PENDING)
        .group_by(DELIVERIES.c.destination)
        .order_by(DELIVERIES.c.destination)
    )
    return [
        wrong(
            f"deliveries to {name}",
            f"{number} wait for it, and destinations has no such name",
            "put it back under destinations; or leave it, they are given up in time",
        )
        for name, number in connection.execute(waiting)
        if name not in destinations
    ]
