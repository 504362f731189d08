"""`pneumo-monai reconcile`: whether everything that was received on a day is accounted for."""

import json
from collections import defaultdict
from datetime import date, datetime, timedelta
from typing import Any

from pneumo_monai.entries import DeliveryState, FilmState
from pneumo_monai.overview import open_records
from pneumo_monai.settings import Settings
from pneumo_monai.tally import Received, Tally

__all__ = ["reconcile"]

_ORDER = (FilmState.ANALYSED, FilmState.REFUSED, FilmState.FAILED, FilmState.IN_PROGRESS)


def reconcile(settings: Settings, day: date, *, as_json: bool) -> bool:
    """Print what became of the objects of one day, and of their results.

    Returns
    -------
    bool
        Whether received = analysed + refused + failed + in progress, and nothing is undeliverable.
    """
    records = open_records(settings)
    try:
        begin, end = (_midnight(day + timedelta(days=days)) for days in (0, 1))
        tally = Tally(records.engine)
        received, slots = tally.received(begin, end), tally.deliveries(begin, end)
    finally:
        records.engine.dispose()
    deliveries: dict[str, dict[str, int]] = defaultdict(dict)
    for (destination, state), number in sorted(slots.items()):
        deliveries[destination][state] = number
    undeliverable = sum(states.get(DeliveryState.UNDELIVERABLE, 0) for states in deliveries.values())
    is_well = received.holds and not undeliverable
    if as_json:
        body = _body(day, received) | {"deliveries": deliveries, "undeliverable": undeliverable, "ok": is_well}
        print(json.dumps(body, indent=2))  # noqa: T201 - the command's output
    else:
        print("\n".join([*_lines(day, received), *_delivery_lines(deliveries)]))  # noqa: T201 - the command's output
    return is_well


def _midnight(day: date) -> float:
    """Return when a day begins where this machine stands, seconds since the epoch."""
    return datetime(day.year, day.month, day.day).astimezone().timestamp()


def _body(day: date, received: Received) -> dict[str, Any]:
    return {
        "day": day.isoformat(),
        "received": received.total,
        "holds": received.holds,
        "counts": {state: received.count(state) for state in FilmState},
        "reasons": {state: received.reasons(state) for state in FilmState if received.reasons(state)},
    }


def _lines(day: date, received: Received) -> list[str]:
    terms = " + ".join(f"{received.count(state)} {state}" for state in _ORDER)
    lines = [f"{day.isoformat()}: {received.total} received {'=' if received.holds else '!='} {terms}"]
    for state in _ORDER:
        reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(received.reasons(state).items()))
        lines += [f"{state}: {reasons}"] if reasons else []
    if not received.holds:
        known = {str(state) for state in FilmState}
        strangers = sorted({state for state, _ in received.by_outcome if state not in known})
        lines.append(f"the ledger holds states that this program does not know: {', '.join(strangers)}")
    return lines


def _delivery_lines(deliveries: dict[str, dict[str, int]]) -> list[str]:
    lines = [
        f"delivery to {destination}: " + ", ".join(f"{number} {state}" for state, number in states.items())
        for destination, states in deliveries.items()
    ]
    if any(states.get(DeliveryState.UNDELIVERABLE) for states in deliveries.values()):
        lines.append("undeliverable: `pneumo-monai status` says why, `pneumo-monai retry` tries again")
    return lines
