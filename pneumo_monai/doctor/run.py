"""All checks in order, each as one line."""

from collections.abc import Iterator
from pathlib import Path

from pneumo_monai.doctor.check import Check, Verdict, good, wrong
from pneumo_monai.doctor.machine import check_clock, check_disk, check_permissions
from pneumo_monai.doctor.peers import check_certificates, check_commitments, check_destinations
from pneumo_monai.doctor.ports import check_ports
from pneumo_monai.doctor.software import check_ledger, check_model, check_versions
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.settings import load_settings

__all__ = ["examine", "run_doctor"]


def run_doctor(config: Path) -> bool:
    """Print one line a check, and return whether nothing is wrong."""
    is_well = True
    for check in examine(config):
        print(check.line, flush=True)  # noqa: T201 - the command's output
        is_well = is_well and check.verdict is not Verdict.WRONG
    return is_well


def examine(config: Path) -> Iterator[Check]:
    """Yield every check, those that take seconds last. Nothing is changed by any of them."""
    yield from check_versions()
    try:
        settings = load_settings(config)
    except ConfigurationError as error:
        yield from (wrong("settings", line) for line in str(error).splitlines())
        return
    yield good("settings", f"{config} and the environment can be used")
    yield from check_ports(settings)
    yield from check_disk(settings)
    yield from check_permissions(settings)
    ledger, newest = check_ledger(settings)
    yield from ledger
    yield from check_clock(newest)
    yield from check_certificates(settings)
    yield from check_destinations(settings)
    yield from check_commitments(settings)
    yield from check_model(settings)
