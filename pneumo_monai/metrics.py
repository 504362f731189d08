"""Metrics for Prometheus, read from the ledger when they are asked for. No patient data, no UIDs.

What the ledger holds is a gauge, a film may yet change its state; only starts of processes are counted here.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

import sqlalchemy as sa
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from pneumo_monai import __version__
from pneumo_monai.commitments import Commitments
from pneumo_monai.entries import CommitmentState, DeliveryState, FilmState
from pneumo_monai.processes import ProcessState
from pneumo_monai.readings import Readings
from pneumo_monai.records import Records
from pneumo_monai.reserve import Reserve
from pneumo_monai.tally import Tally

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

_DAY_SECONDS = 86_400
_POSITIVE_DAYS = (1, 7, 30)
_RECENT_SECONDS = 3600
_QUANTILES = (0.5, 0.95, 1.0)


class Metrics(Collector):
    """Everything that is measured.

    Parameters
    ----------
    records : callable
        Returns the ledger's tables; may raise `sqlalchemy.exc.SQLAlchemyError`.
    processes : callable
        Returns how each process stands.
    alarms : callable
        Returns whether each alarm is raised.
    destinations : sequence of str
        Names of the configuration: each has its rows before anything goes there.
    reserve : Reserve or None
        What is free of the disk; None: it is not measured.
    """

    def __init__(
        self,
        records: Callable[[], Records],
        processes: Callable[[], Sequence[ProcessState]],
        alarms: Callable[[], Mapping[str, bool]],
        destinations: Sequence[str],
        reserve: Reserve | None = None,
    ) -> None:
        self._records = records
        self._processes = processes
        self._alarms = alarms
        self._destinations = destinations
        self._reserve = reserve
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def describe(self) -> list[Metric]:
        """Return nothing: the registry needs no names before the first collection."""
        return []

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; those of the ledger only while it can be read."""
        yield InfoMetricFamily("pneumo_monai", "This program.", value={"version": __version__})
        yield from self._of_processes()
        yield from self._of_disk()
        try:
            tables = self._records()
            found = list(_of_ledger(tables, self._destinations))
            is_up = 1
        except sa.exc.SQLAlchemyError:
            found, is_up = [], 0
        yield GaugeMetricFamily("pneumo_monai_ledger_up", "Whether the ledger can be read.", value=is_up)
        yield from found

    def _of_processes(self) -> Iterator[Metric]:
        starts = CounterMetricFamily("pneumo_monai_process_starts", "Starts of a process.", labels=["process"])
        ready = GaugeMetricFamily("pneumo_monai_process_ready", "Whether a process is ready.", labels=["process"])
        for state in self._processes():
            starts.add_metric([state.name], state.starts)
            ready.add_metric([state.name], int(state.ready))
        yield starts
        yield ready
        alarms = GaugeMetricFamily("pneumo_monai_alarm", "Whether an alarm is raised.", labels=["alarm"])
        for name, is_raised in self._alarms().items():
            alarms.add_metric([name], int(is_raised))
        yield alarms

    def _of_disk(self) -> Iterator[Metric]:
        if self._reserve is None:
            return
        with suppress(OSError):
            free = self._reserve.free()
            yield GaugeMetricFamily("pneumo_monai_disk_free_bytes", "Free for data_dir.", value=free)
        reserved = self._reserve.reserved
        yield GaugeMetricFamily("pneumo_monai_disk_reserve_bytes", "Of them, no film may take.", value=reserved)


def _of_ledger(records: Records, destinations: Sequence[str]) -> Iterator[Metric]:
    tally, now = Tally(records.engine), time.time()
    films = GaugeMetricFamily("pneumo_monai_films", "Received objects.", labels=["outcome", "reason"])
    received = tally.received().by_outcome
    for (state, reason), number in ({(str(state), None): 0 for state in FilmState} | dict(received)).items():
        films.add_metric([state, reason or ""], number)
    yield films
    if (last := tally.last_film_at()) is not None:
        yield GaugeMetricFamily(
            "pneumo_monai_last_film_age_seconds", "Since the newest object was received.", value=max(0.0, now - last)
        )
    yield from _of_backlog(tally, destinations, now)
    deliveries = GaugeMetricFamily(
        "pneumo_monai_deliveries", "Slots of current results.", labels=["destination", "state"]
    )
    none = {(name, str(state)): 0 for name in destinations for state in DeliveryState}
    for (destination, state), number in (none | tally.deliveries()).items():
        deliveries.add_metric([destination, state], number)
    yield deliveries
    commitments = GaugeMetricFamily(
        "pneumo_monai_commitments", "Results by storage commitment.", labels=["destination", "state"]
    )
    owed = {(name, str(state)): 0 for name in destinations for state in CommitmentState}
    for (destination, state), number in (owed | Commitments(records.engine).counts()).items():
        commitments.add_metric([destination, state], number)
    yield commitments
    stages = GaugeMetricFamily(
        "pneumo_monai_stage_seconds",
        "From receipt to answer, and from report to delivery, in the last hour.",
        labels=["stage", "quantile"],
    )
    for stage, seconds in tally.durations(now - _RECENT_SECONDS).items():
        for quantile in _QUANTILES if seconds else ():
            stages.add_metric([stage, str(quantile)], seconds[round(quantile * (len(seconds) - 1))])
    yield stages
    yield from _of_readings(Readings(records.engine), now)


def _of_backlog(tally: Tally, destinations: Sequence[str], now: float) -> Iterator[Metric]:
    backlog = tally.backlog()
    depth = GaugeMetricFamily("pneumo_monai_queue_depth", "What waits.", labels=["queue"])
    depth.add_metric(["films"], backlog.films)
    depth.add_metric(["studies"], backlog.studies)
    oldest = GaugeMetricFamily(
        "pneumo_monai_oldest_delivery_age_seconds", "Of the oldest report that waits.", labels=["destination"]
    )
    for name in dict.fromkeys((*destinations, *backlog.reports)):
        depth.add_metric([f"deliver-{name}"], backlog.reports.get(name, 0))
        oldest.add_metric([name], max(0.0, now - backlog.oldest_report.get(name, now)))
    yield depth
    yield oldest
    film = now if backlog.oldest_film is None else backlog.oldest_film
    yield GaugeMetricFamily(
        "pneumo_monai_oldest_film_age_seconds", "Of the oldest object in progress.", value=max(0.0, now - film)
    )


def _of_readings(readings: Readings, now: float) -> Iterator[Metric]:
    read = GaugeMetricFamily("pneumo_monai_studies_read", "Studies read in the last days.", labels=["days"])
    ratio = GaugeMetricFamily(
        "pneumo_monai_positive_ratio", "Share of them in which the finding is present.", labels=["days"]
    )
    for days in _POSITIVE_DAYS:
        number, positive = readings.since(now - days * _DAY_SECONDS)
        read.add_metric([str(days)], number)
        if number:
            ratio.add_metric([str(days)], positive / number)
    yield read
    yield ratio
