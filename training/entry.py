"""How every command of `training` starts and ends."""

import logging
from collections.abc import Callable

import typer
from rich.logging import RichHandler

from pneumo_monai.errors import ConfigurationError

__all__ = ["start"]

_log = logging.getLogger(__name__)


def start(command: Callable[..., None]) -> None:
    """Run one command line; what the user must change ends in one line and status 2."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False)])
    try:
        typer.run(command)
    except ConfigurationError as error:
        # The message is the remedy; a traceback would bury it.
        _log.error("%s", error)
        raise SystemExit(2) from None
