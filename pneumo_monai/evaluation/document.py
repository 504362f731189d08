"""metrics.json: what was measured, on what, by which model, and how."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pneumo_monai.bundle import Bundle
from pneumo_monai.evaluation.curves import curves
from pneumo_monai.evaluation.groups import Group, Protocol, measure, mix_statement

__all__ = ["ENOUGH", "described_model", "how_measured", "notes_on", "with_curves"]

ENOUGH = 100
"""Positive and negative films, of each, below which figures say little (Collins et al., Stat Med 2016)."""


def how_measured(groups: Sequence[Group], protocol: Protocol) -> dict[str, Any]:
    """Return what a reader must know of the figures: intervals, prevalence, mix."""
    return {
        "intervals": f"95 %, {protocol.resamples} bootstrap resamples of persons",
        "prevalence": protocol.prevalence,
        "mix": mix_statement(groups, protocol.mix),
    }


def described_model(bundle: Bundle) -> dict[str, Any]:
    """Return who read the films, how its probabilities were calibrated and how its operating point was chosen."""
    contract, identity = bundle.contract, bundle.identity
    return {
        "model": {**asdict(identity), "reads": "films cut to their lungs" if contract.lungs else "whole films"},
        "calibration": contract.calibration.model_dump(),
        "operating_point": {
            **contract.operating_point.model_dump(),
            "chosen": "on validation films when the model was made, never on the films measured here",
        },
    }


def with_curves(groups: Sequence[Group], protocol: Protocol, part: str) -> dict[str, Any]:
    """Return the figures of one part of the data, and the points of its curves."""
    return {
        "part": part,
        part: measure(groups, protocol),
        "curves": {group.name: curves(group, protocol) for group in groups},
    }


def notes_on(groups: Sequence[Group]) -> list[str]:
    """Say which groups are too small to say much."""
    notes = []
    for group in groups:
        positive = int(group.labels.sum())
        negative = len(group.labels) - positive
        if not group.has_both_classes:
            notes.append(f"{group.name}: all films are of one class, so that nothing can be told apart.")
        elif min(positive, negative) < ENOUGH:
            notes.append(
                f"{group.name}: {positive} positive and {negative} negative; below {ENOUGH} of each the intervals are "
                "wide, and calibration is hardly known."
            )
    return notes
