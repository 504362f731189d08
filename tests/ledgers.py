"""A ledger filled by hand, for what counts and watches."""

import time
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from pneumo_monai.entries import (
    DeliveryRecord,
    DeliveryState,
    FilmAnswer,
    FilmState,
    OutcomeKind,
    ReportRecord,
    Revision,
)
from pneumo_monai.forms import Form
from pneumo_monai.records import Records
from pneumo_monai.spool import Identity
from pneumo_monai.tables import DELIVERIES, FILMS, connect

__all__ = ["Book"]


class Book:
    """The ledger of a data folder."""

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(exist_ok=True)
        self.records = Records(connect(f"sqlite:///{data_dir.resolve() / 'ledger.sqlite'}"))

    def film(
        self, number: int, state: FilmState = FilmState.IN_PROGRESS, reason: str | None = None, *, age: float = 0.0
    ) -> str:
        """Receive one film of a study of its own, `age` seconds ago; return its Study Instance UID."""
        study = f"1.2.{number}"
        identity = Identity(
            study_instance_uid=study, sop_instance_uid=f"{study}.1", sop_class_uid="1.9", digest=f"{number:064}"
        )
        assert self.records.receive(identity, "p", "SCANNER")
        (film,) = self.records.films(study)
        if state is not FilmState.IN_PROGRESS:
            self.records.answer(
                [FilmAnswer(film_id=film.id, state=state, reason=reason, detail="d" if reason else None)]
            )
        with self.records.engine.begin() as connection:
            moved = FILMS.update().where(FILMS.c.id == film.id).values(received_at=time.time() - age)
            connection.execute(moved)
        return study

    def report(self, study: str, states: Sequence[tuple[str, DeliveryState]], *, age: float = 0.0) -> None:
        """Enter the next revision of a study's result, with a slot for each destination."""
        before = self.records.latest_report(study)
        revision, made = (before.revision if before else 0) + 1, time.time() - age
        record = ReportRecord(
            study_instance_uid=study,
            revision=revision,
            fingerprint=str(revision),
            outcome=OutcomeKind.FINDINGS,
            created_at=made,
        )
        slots = [
            DeliveryRecord(
                study_instance_uid=study,
                revision=revision,
                destination=name,
                slot=0,
                alternatives=(Form.SR_COMPREHENSIVE_3D,),
                updated_at=made,
            )
            for name, _ in states
        ]
        self.records.answer([], Revision(report=record, deliveries=tuple(slots)))
        for slot, (_, state) in zip(slots, states, strict=True):
            self.records.settle(slot, state)

    def corrupt(self) -> None:
        """Put a film into a state that nobody knows."""
        with self.records.engine.begin() as connection:
            connection.execute(sa.update(FILMS).where(FILMS.c.id == 1).values(state="lost"))

    def settle_all(self) -> None:
        """Deliver everything that waits."""
        with self.records.engine.begin() as connection:
            connection.execute(sa.update(DELIVERIES).values(state=DeliveryState.DELIVERED))

    def close(self) -> None:
        """Let go of the database."""
        self.records.engine.dispose()
