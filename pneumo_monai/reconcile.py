"""`pneumo-monai reconcile`: whether everything that was received on a day is accounted for."""

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from pneumo_monai.entries import CommitmentState, DeliveryState, FilmState
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
        Whether received = analysed + refused + failed + in progress, nothing is undeliverable, and nothing that should
        be committed to was given up.
    """
    records = open_records(settings)
    try:
        begin, end = (_midnight(day + timedelta(days=days)) for days in (0, 1))
        tally = Tally(records.engine)
        received, slots, owed = tally.received(begin, end), tally.deliveries(begin, end), tally.commitments(begin, end)
    finally:
        records.engine.dispose()
    deliveries, commitments = _by_destination(slots), _by_destination(owed)
    undeliverable = sum(states.get(DeliveryState.UNDELIVERABLE, 0) for states in deliveries.values())
    uncommitted = sum(states.get(CommitmentState.UNCOMMITTED, 0) for states in commitments.values())
    is_well = received.holds and not undeliverable and not uncommitted
    if as_json:
        body = _body(day, received) | {
            "deliveries": deliveries,
            "undeliverable": undeliverable,
            "commitments": commitments,
            "uncommitted": uncommitted,
            "ok": is_well,
        }
        print(json.dumps(body, indent=2))  # noqa: T201 - the command's output
    else:
        lines = [*_lines(day, received), *_state_lines("delivery to", deliveries)]
        print("\n".join([*lines, *_state_lines("commitment by", commitments)]))  # noqa: T201 - the command's output
    return is_well


def _by_destination(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for (destination, state), number in sorted(counts.items()):
        found[destination][state] = number
    return found


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


def _state_lines(what: str, counts: dict[str, dict[str, int]]) -> list[str]:
    lines = [
        f"{what} {destination}: " + ", ".join(f"{number} {state}" for state, number in states.items())
        for destination, states in counts.items()
    ]
    if any(states.get(DeliveryState.UNDELIVERABLE) for states in counts.values()):
        lines.append("undeliverable: `pneumo-monai status` says why, `pneumo-monai retry` tries again")
    return lines
