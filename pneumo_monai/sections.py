"""The sections of the settings, each checked when it is built. They name DICOM's terms and import no DICOM library."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from pneumo_monai.connections import AETitle, DestinationTls, Limits, ListenerTls, Peer, Seconds, Section
from pneumo_monai.errors import Reason
from pneumo_monai.forms import Form

__all__ = [
    "NEVER_REPORTED",
    "Delivery",
    "Destination",
    "IntendedUse",
    "Ledger",
    "Listener",
    "Model",
    "Report",
    "Retention",
    "StorageCommitment",
]


NEVER_REPORTED = frozenset(
    {
        Reason.OWN_RESULT,
        Reason.NOT_AN_IMAGE,
        Reason.UNPARSEABLE,
        Reason.MISSING_IDENTITY,
        Reason.CONFLICTING_CONTENT,
        Reason.RETRACTED,
        Reason.FILMS_REMOVED,
        Reason.QUARANTINED,
    }
)
"""Reasons of objects that are no film, name no study of their own, of whose study there was a result before, or that
are not touched again: a report would have to read their header."""

_UID_ROOT = re.compile(r"(?:[01]\.(?:\d|[1-3]\d)|2\.(?:0|[1-9]\d*))(?:\.(?:0|[1-9]\d*))*")
_UID_ROOT_LENGTH = 24


def _forms(value: Any) -> Any:
    """Name the shape that is meant: of a wrong one pydantic would only say which part is no tuple."""
    if not isinstance(value, list | tuple) or not value or not all(isinstance(x, list | tuple) and x for x in value):
        raise ValueError(
            "is a list of lists, such as [[sr-comprehensive-3d, sr-comprehensive], [sc]]: each inner list is sent in "
            "the first of its forms that the destination accepts"
        )
    named = [form for alternatives in value for form in alternatives]
    choosable = [form for form in Form if form is not Form.REJECTION_NOTE]
    if strangers := [form for form in named if form not in choosable]:
        raise ValueError(f"{strangers[0]!s} is no form that can be chosen; there are {', '.join(choosable)}")
    if twice := [form for form in named if named.count(form) > 1]:
        raise ValueError(f"{twice[0]!s} stands twice; a form is sent once")
    return value


def _reported_reasons(value: tuple[Reason, ...]) -> tuple[Reason, ...]:
    if never := [reason for reason in value if reason in NEVER_REPORTED]:
        raise ValueError(f"{never[0]} never makes a report: take it out")
    return value


def _switch(value: Any) -> Any:
    """Let `true` stand for a section of defaults, and `false` for none."""
    return {} if value is True else None if value is False else value


def _uid_root(value: str | None) -> str | None:
    if value is not None and (len(value) > _UID_ROOT_LENGTH or not _UID_ROOT.fullmatch(value)):
        raise ValueError(
            f"is no root of UIDs: numbers without leading zeros, joined by full stops, at most {_UID_ROOT_LENGTH} "
            "characters, such as 1.2.826.0.1.3680043.10.1 (PS3.5 9.1); null for UUID-derived UIDs"
        )
    return value


Host = Annotated[str, Field(min_length=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
ListenPort = Annotated[int, Field(ge=0, le=65535)]


class Listener(Section):
    """Where films are received."""

    ae_title: AETitle = "PNEUMO"
    host: Host = "127.0.0.1"
    port: ListenPort = 11112
    study_silence: float = Field(
        default=2.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds without a film after which an open association's study is reported.",
    )
    peers: tuple[Peer, ...] = Field(default=(), description="Who may open an association; none: everybody.")
    require_called_ae_title: bool = Field(default=False, description="Whether ae_title must be the one that is called.")
    limits: Limits = Limits()
    tls: ListenerTls | None = Field(default=None, description="null: connections are not encrypted.")


class StorageCommitment(Section):
    """Storage Commitment of one destination: whom to ask, and how long to wait for what."""

    ae_title: AETitle | None = Field(default=None, description="Of the commitment SCP; null: the destination's.")
    host: Host | None = Field(default=None, description="null: the destination's.")
    port: Port | None = Field(default=None, description="null: the destination's.")
    association_seconds: float = Field(
        default=1.0, ge=0, le=60, description="How long the association of the request is kept open for its answer."
    )
    answer_minutes: float = Field(
        default=60.0, gt=0, allow_inf_nan=False, description="How long an answer may take before it is asked again."
    )
    give_up_days: float = Field(
        default=7.0, gt=0, allow_inf_nan=False, description="How long it is asked again after the first request."
    )


class Destination(Section):
    """A storage SCP that gets results, and in which forms."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$", description="Name of the destination in status and logs.")
    ae_title: AETitle
    host: Host
    port: Port
    tls: DestinationTls | None = Field(default=None, description="null: the connection is not encrypted.")
    calling_ae_titles: tuple[AETitle, ...] = Field(
        default=(), description="Whose films it gets results of, by calling AE title; none: everybody's."
    )
    forms: Annotated[tuple[tuple[Form, ...], ...], BeforeValidator(_forms)] = Field(
        default=((Form.SR_COMPREHENSIVE_3D,),),
        description="What is sent: of each inner list the first form that the destination accepts.",
    )
    not_analysed: Annotated[tuple[Reason, ...], AfterValidator(_reported_reasons)] = Field(
        default=(
            Reason.AGE,
            Reason.PIXEL_FORMAT,
            Reason.TOO_LARGE,
            Reason.UNDECODABLE,
            Reason.UNLIKE_CHEST,
            Reason.INVERTED,
        ),
        description="Reasons for which a study of which no film was read gets a report that says so.",
    )
    storage_commitment: Annotated[StorageCommitment | None, BeforeValidator(_switch)] = Field(
        default=None, description="null: nobody is asked to commit to what was sent."
    )


class Delivery(Section):
    """How long a destination is waited for that cannot be reached, or does not take something."""

    first_pause: Seconds = Field(default=5.0, description="Seconds until the second attempt.")
    longest_pause: Seconds = Field(default=600.0, description="Seconds between two attempts, at most.")
    give_up_after_hours: float = Field(
        default=168.0, gt=0, allow_inf_nan=False, description="Age at which a delivery is undeliverable."
    )

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.longest_pause < self.first_pause:
            raise ValueError("longest_pause is shorter than first_pause; pauses grow from the one to the other")
        return self


class Report(Section):
    """What every result carries."""

    uid_root: Annotated[str | None, AfterValidator(_uid_root)] = Field(
        default=None, description="Root of the UIDs of results; null: 2.25, derived from UUIDs."
    )


class Model(Section):
    """Which bundle reads, and on what."""

    path: Path | None = Field(default=None, description="Folder of a MONAI Bundle; null: the one in the package.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto: the GPU when there is one, else the CPU; cuda without a GPU is an error."
    )
    precision: Literal["single", "half"] = Field(
        default="single", description="On a GPU: float32, or float16 and a film that is too much for it read again."
    )
    cuda_graphs: bool = Field(
        default=False, description="On a GPU: launch the kernels of a pass at once, where that gives the same."
    )


class IntendedUse(Section):
    """For whom the model may read, and what becomes of other films: refused, or read with a remark in the report."""

    minimum_age: int = Field(default=18, ge=0, le=122, description="Years; 0: films of every age are read.")
    younger: Literal["refuse", "flag"] = Field(default="refuse", description="What becomes of younger patients' films.")
    age_missing: Literal["refuse", "flag"] = Field(
        default="flag", description="What becomes of films whose header states no age."
    )
    unlike_chest: Literal["refuse", "flag", "accept"] = Field(
        default="refuse", description="What becomes of pictures that do not look like a frontal chest film."
    )
    inverted: Literal["refuse", "flag", "accept"] = Field(
        default="flag", description="What becomes of pictures that look like the negative of a chest film."
    )


Days = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Retention(Section):
    """How long what is done with stays: days since anything last happened to a study; null: for ever."""

    films_days: Days | None = Field(default=30.0, description="Films on disk.")
    results_days: Days | None = Field(default=90.0, description="Results on disk.")
    ledger_days: Days | None = Field(default=365.0, description="What the ledger knows of a study.")

    @model_validator(mode="after")
    def _rows_stay_longest(self) -> Self:
        days = (self.films_days, self.results_days)
        if self.ledger_days is not None and any(each is None or each > self.ledger_days for each in days):
            raise ValueError(
                "ledger_days is shorter than films_days or results_days: the ledger knows which files may go; make it "
                "longer, or null"
            )
        return self


class Ledger(Section):
    """Where the durable state lives."""

    url: str | None = Field(
        default=None, description="null: SQLite in data_dir; or postgresql://user:password@host/db."
    )

    @field_validator("url")
    @classmethod
    def _known_database(cls, url: str | None) -> str | None:
        if url is not None and not _is_database(url):
            raise ValueError("write postgresql://user:password@host/database, or null for SQLite in data_dir")
        return url


def _is_database(url: str) -> bool:
    # SQLAlchemy takes a while to import, and most sites have no URL.
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return False
    database = parsed.database or ""
    return (
        bool(database) if parsed.drivername == "postgresql" else parsed.drivername == "sqlite" and database[:1] == "/"
    )
