"""`pneumo-monai retract`, `reread` and `retry`: what a person asks of the worker, through the ledger."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from pneumo_monai.entries import DeliveryState, Errand, OutcomeKind
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.findings import RetractionCause
from pneumo_monai.ledger import Inbox, prepare
from pneumo_monai.overview import open_records
from pneumo_monai.settings import Settings
from pneumo_monai.spool import Spool

__all__ = ["ask_for_another_attempt", "ask_for_rereading", "ask_for_retraction"]

_LONGEST_WHY = 500


def ask_for_retraction(settings: Settings, study: str, cause: Literal["safety", "quality"], why: str) -> str:
    """Ask for the result of a study to be withdrawn, and return what to tell the one who asked.

    Raises
    ------
    ConfigurationError
        The study has no result, or `why` is no sentence for a report.
    """
    sentence = " ".join(why.split())
    if not 0 < len(sentence) <= _LONGEST_WHY or not sentence.isprintable():
        # It is not repeated: whoever wrote it may have named the patient.
        raise ConfigurationError(
            f"--why: write one sentence for the reader of the report, at most {_LONGEST_WHY} characters"
        )
    records = open_records(settings)
    try:
        current = records.latest_report(study)
    finally:
        records.engine.dispose()
    if current is None:
        raise ConfigurationError(
            f"{study}: has no result to retract; `pneumo-monai status` lists the studies that have"
        )
    if current.outcome is OutcomeKind.RETRACTION:
        return f"{study}: was retracted before, by revision {current.revision}"
    inbox = Inbox(prepare(settings.ledger_url))
    try:
        inbox.retract(study, current.revision, RetractionCause(cause), sentence)
    finally:
        inbox.close()
        inbox.records.engine.dispose()
    return f"{study}: revision {current.revision} will be retracted; `pneumo-monai status` says when it is"


def ask_for_rereading(settings: Settings, studies: Sequence[str]) -> list[str]:
    """Ask for the films of studies to be opened again, and return what to tell the one who asked.

    Raises
    ------
    ConfigurationError
        Nothing was received of one of the studies, or its films were removed: none is asked for then.
    """
    records = open_records(settings)
    try:
        films = records.films(*studies)
    finally:
        records.engine.dispose()
    known = {film.study_instance_uid for film in films}
    if unknown := [study for study in studies if study not in known]:
        raise ConfigurationError(
            "\n".join(f"{study}: nothing was received of it; `pneumo-monai status` lists studies" for study in unknown)
        )
    spool = Spool(settings.data_dir)
    if gone := dict.fromkeys(film.study_instance_uid for film in films if not spool.path(film.path).exists()):
        raise ConfigurationError(
            "\n".join(
                f"{study}: films of it were removed (retention.films_days); send all of them once more, then ask again"
                for study in gone
            )
        )
    inbox = Inbox(prepare(settings.ledger_url))
    try:
        for study in dict.fromkeys(studies):
            inbox.reread(study)
    finally:
        inbox.close()
        inbox.records.engine.dispose()
    return [f"{study}: will be read again" for study in dict.fromkeys(studies)]


def ask_for_another_attempt(
    settings: Settings, *, destination: str | None = None, study: str | None = None
) -> list[str]:
    """Ask for an attempt, now, at what is undeliverable or waits, and return what to tell the one who asked.

    Of what is undeliverable, only current results are taken up: a later one takes the place of what it superseded.

    Parameters
    ----------
    settings : Settings
        The whole tree.
    destination, study : str or None
        Name of a destination, Study Instance UID: only what goes there, or only this study; None: all.

    Raises
    ------
    ConfigurationError
        Neither the configuration nor the ledger knows the destination, or nothing was received of the study.
    """
    records = open_records(settings)
    try:
        if study is not None and not records.films(study):
            raise ConfigurationError(f"{study}: nothing was received of it; `pneumo-monai status` lists studies")
        found = records.not_delivered()
    finally:
        records.engine.dispose()
    known = {peer.name for peer in settings.destinations}
    if destination is not None and destination not in known | {errand.destination for errand in found}:
        names = ", ".join(sorted(known)) or "none"
        raise ConfigurationError(f"--destination: {destination!r} is no destination; the configuration has {names}")
    chosen = {
        errand: state
        for errand, state in found.items()
        if destination in (None, errand.destination) and study in (None, errand.study_instance_uid)
    }
    asked = [errand for errand in chosen if errand.destination in known]
    if asked:
        inbox = Inbox(prepare(settings.ledger_url))
        try:
            inbox.try_again(asked)
        finally:
            inbox.close()
            inbox.records.engine.dispose()
    return [*(_line(errand, chosen[errand]) for errand in asked), *_strangers(chosen, known), _sum(asked)]


def _line(errand: Errand, state: DeliveryState) -> str:
    what = "is revived" if state is DeliveryState.UNDELIVERABLE else "does not wait any longer"
    return f"{errand.study_instance_uid}: revision {errand.revision} for {errand.destination} {what}"


def _strangers(found: Iterable[Errand], known: Collection[str]) -> list[str]:
    numbers = Counter(errand.destination for errand in found if errand.destination not in known)
    return [
        f"{name}: {number} not delivered, and `destinations` has no such name any more; put it back and ask again"
        for name, number in sorted(numbers.items())
    ]


def _sum(asked: Sequence[Errand]) -> str:
    return f"{len(asked)} are tried as soon as a worker runs" if asked else "nothing is to be tried again"
