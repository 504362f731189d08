"""Which film of a study ends the process that reads it: each is tried alone, and only the guilty is refused."""

import logging
import signal
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from pneumo_monai.errors import OutOfResources, Reason, Refused
from pneumo_monai.study import Film, Study

__all__ = ["Death", "read_apart"]

_log = logging.getLogger(__name__)

_OF_OTHERS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""Signals that say a service is stopped: no film's fault."""

_KILLS = 3
"""SIGKILL may be an administrator's or that of a system whose memory one film has used up. An administrator does not
kill the same film's process three times in a row."""


@dataclass(frozen=True, kw_only=True)
class Death:
    """How a process ended that was reading a study.

    Attributes
    ----------
    films : frozenset of int
        Keys of the films that it had at hand; none: it died of something else.
    signal : int or None
        What ended it; None: it ended itself, or did not answer in time.
    how : str
        For the administrator.
    """

    films: frozenset[int]
    signal: int | None
    how: str


Attempt = Callable[[Study], Study | Death]
"""Reads a study in a process that is started for it."""


def read_apart(study: Study, attempt: Attempt) -> Study:
    """Read a study in processes of its own, and refuse the films that end them.

    Raises
    ------
    OutOfResources
        A process was ended by somebody else, or had no film at hand.
    """
    while isinstance(outcome := _tried(study, attempt), Death):
        study = _without(study, _guilty(study, outcome, attempt), outcome.how)
    return outcome


def _tried(study: Study, attempt: Attempt) -> Study | Death:
    for _ in range(_KILLS):
        outcome = attempt(study)
        if isinstance(outcome, Study):
            return outcome
        outcome = replace(outcome, films=outcome.films & {film.key for film in study.films if not _is_kept_apart(film)})
        if outcome.signal in _OF_OTHERS or not outcome.films:
            raise OutOfResources(f"the process that reads a study apart ended: {outcome.how}")
        if outcome.signal != signal.SIGKILL:
            break
    return outcome


def _guilty(study: Study, death: Death, attempt: Attempt) -> Collection[int]:
    """Return which of the films at hand end a process when each of them is the only one in it."""
    if len(death.films) == 1:
        return death.films
    alone = [replace(study, films=(film,)) for film in study.films if film.key in death.films]
    guilty = [one.films[0].key for one in alone if isinstance(_tried(one, attempt), Death)]
    # No one alone, but all of them together: nothing can be said of the study with them.
    return guilty or death.films


def _without(study: Study, guilty: Collection[int], how: str) -> Study:
    for film in study.films:
        if film.key in guilty:
            _log.error("%s is quarantined: %s", film.path.name, how)
    refused = Refused(Reason.QUARANTINED, how)
    return replace(
        study, films=tuple(replace(film, refused=refused) if film.key in guilty else film for film in study.films)
    )


def _is_kept_apart(film: Film) -> bool:
    return film.refused is not None and film.refused.reason is Reason.QUARANTINED
