"""How every command of `training` starts and ends."""

import logging
from collections.abc import Callable

import typer
from pytorch_lightning.utilities import rank_zero_only
from rich.logging import RichHandler

from pneumo_monai.errors import ConfigurationError

__all__ = ["start"]

_log = logging.getLogger(__name__)


def start(command: Callable[..., None]) -> None:
    """Run one command line; what the user must change ends in one line and status 2."""
    # Of several processes the first one tells what happens.
    level = logging.INFO if rank_zero_only.rank == 0 else logging.ERROR
    logging.basicConfig(level=level, format="%(message)s", handlers=[RichHandler(show_path=False)])
    try:
        typer.run(command)
    except ConfigurationError as error:
        # The message is the remedy; a traceback would bury it.
        _log.error("%s", error)
        raise SystemExit(2) from None
