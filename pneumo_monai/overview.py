"""Films, reports and deliveries joined by study: what `status` and the status page show."""

from collections import Counter, defaultdict
from dataclasses import dataclass

from pneumo_monai.records import DeliveryRecord, DeliveryState, FilmRecord, FilmState, Records, ReportRecord

__all__ = ["StudyOverview", "overview"]


@dataclass(frozen=True, kw_only=True)
class StudyOverview:
    """One study: what was received of it, what became of that, and where its current report stands."""

    study_instance_uid: str
    films: tuple[FilmRecord, ...]
    report: ReportRecord | None
    deliveries: tuple[DeliveryRecord, ...]

    @property
    def received_at(self) -> float:
        """When its newest film came, seconds since the epoch."""
        return max(film.received_at for film in self.films)

    @property
    def state(self) -> str:
        """One phrase for the whole study."""
        states = Counter(film.state for film in self.films)
        if states[FilmState.IN_PROGRESS]:
            return "in progress"
        if self.report is None:
            return "failed" if states[FilmState.FAILED] else "refused"
        if any(delivery.state is DeliveryState.UNDELIVERABLE for delivery in self.deliveries):
            return "undeliverable"
        if all(delivery.state is DeliveryState.DELIVERED for delivery in self.deliveries):
            return "reported"
        return "waiting for delivery"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why films of it were not analysed: ``reason: detail``, each once."""
        return tuple(dict.fromkeys(f"{film.reason}: {film.detail}" for film in self.films if film.reason))


def overview(records: Records, limit: int) -> list[StudyOverview]:
    """Return the `limit` studies that last received an object, newest first."""
    studies = records.newest_studies(limit)
    films: dict[str, list[FilmRecord]] = defaultdict(list)
    for film in records.films(*studies):
        films[film.study_instance_uid].append(film)
    current = {report.study_instance_uid: report for report in records.reports(studies)}
    deliveries: dict[str, list[DeliveryRecord]] = defaultdict(list)
    for delivery in records.deliveries(report.sop_instance_uid for report in current.values()):
        deliveries[delivery.report_sop_instance_uid].append(delivery)
    return [
        StudyOverview(
            study_instance_uid=study,
            films=tuple(films[study]),
            report=(report := current.get(study)),
            deliveries=tuple(deliveries[report.sop_instance_uid]) if report else (),
        )
        for study in studies
    ]
