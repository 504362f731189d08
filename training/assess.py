"""What the weights of a run are worth, exactly as they are shipped: rounded to float16, calibrated, at a threshold."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.utils import CommonKeys
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from pneumo_monai.bundle import Calibration
from pneumo_monai.engine import calibrated
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.findings import OperatingPoint, View
from pneumo_monai.network import ResNet18
from training.calibration import choose_threshold, fit_platt
from training.datamodule import Films
from training.figures import RESAMPLES, figures
from training.records import NOT_NORMAL, Exam
from training.run import BEST, open_films
from training.split import Part
from training.weights import initialise

__all__ = ["SENSITIVITY", "Assessment", "Reading", "assess", "rounded"]

SENSITIVITY = 0.90
"""The operating point is chosen for this sensitivity on the validation part."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One held-out film and what the network said."""

    exam: Exam
    part: Part
    logit: float
    probability: float


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """A run's weights and everything that was measured with them.

    Attributes
    ----------
    state : dict of str to Tensor
        float16 state dict of `ResNet18`.
    lineage : list of dict
        The runs that led to it, oldest first.
    readings : list of Reading
        Every validation and test film.
    metrics : dict
        What metrics.json holds.
    """

    state: dict[str, Tensor]
    lineage: list[dict[str, Any]]
    films: Films
    calibration: Calibration
    operating_point: OperatingPoint
    readings: list[Reading]
    metrics: dict[str, Any]


def rounded(network: ResNet18) -> dict[str, Tensor]:
    """Return the state dict with every float as float16.

    Raises
    ------
    ConfigurationError
        A weight is not finite, or becomes so.
    """
    state = {
        name: value.detach().half() if value.is_floating_point() else value.detach().clone()
        for name, value in network.state_dict().items()
    }
    if broken := [name for name, value in state.items() if not torch.isfinite(value).all()]:
        raise ConfigurationError(f"{broken[0]} is not finite in float16; train again with a lower learning rate")
    return state


def assess(run: Path, *, resamples: int = RESAMPLES) -> Assessment:
    """Read every held-out film with the run's best weights.

    Calibration and operating point come from the validation films that the recipe selects on, figures from the test
    part.

    Raises
    ------
    ConfigurationError
        `run` is no finished run.
    """
    films = open_films(run)
    network = ResNet18()
    lineage = initialise(network, str(run / BEST))
    state = rounded(network)
    network.load_state_dict(state)
    logits = {part: _read(network, films, part) for part in (Part.VALIDATION, Part.TEST)}
    calibration, point = _decide(films, logits[Part.VALIDATION])
    readings = [
        Reading(exam=exam, part=part, logit=logit, probability=calibrated(logit, calibration))
        for part, values in logits.items()
        for exam, logit in zip(films.part(part), values.tolist(), strict=True)
    ]
    metrics = {
        "operating_point": {"name": point.name, "threshold": point.threshold},
        "intervals": f"95 %, {resamples} bootstrap resamples of persons",
        "validation": _by_group([reading for reading in readings if reading.part is Part.VALIDATION], point, resamples),
        "test": _by_group([reading for reading in readings if reading.part is Part.TEST], point, resamples),
    }
    return Assessment(
        state=state,
        lineage=lineage,
        films=films,
        calibration=calibration,
        operating_point=point,
        readings=readings,
        metrics=metrics,
    )


def _read(network: ResNet18, films: Films, part: Part) -> NDArray[np.float64]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.eval().to(device)
    loader = films.held_out(films.part(part))
    with torch.inference_mode():
        logits = [network(batch[CommonKeys.IMAGE].to(device))[:, 0].cpu() for batch in track(loader, f"Reading {part}")]
    return torch.cat(logits).double().numpy()


def _decide(films: Films, logits: NDArray[np.float64]) -> tuple[Calibration, OperatingPoint]:
    exams, chosen = films.part(Part.VALIDATION), films.recipe.select_on
    mask = np.array([not chosen or exam.group in chosen for exam in exams])
    labels = np.array([exam.target for exam in exams])[mask]
    slope, intercept = fit_platt(logits[mask], labels)
    groups = ", ".join(sorted({exam.group for exam, taken in zip(exams, mask, strict=True) if taken}))
    fitted_on = f"{len(labels)} validation films ({int(labels.sum())} positive) of {groups}"
    calibration = Calibration(slope=slope, intercept=intercept, fitted_on=fitted_on)
    probabilities = np.array([calibrated(logit, calibration) for logit in logits[mask].tolist()])
    threshold = choose_threshold(probabilities, labels, sensitivity=SENSITIVITY)
    called = probabilities >= threshold
    point = OperatingPoint(
        name=f"sensitivity {SENSITIVITY:.2f}",
        threshold=threshold,
        sensitivity=float(called[labels == 1].mean()),
        specificity=float(1.0 - called[labels == 0].mean()),
    )
    _log.info("on %s: %s", fitted_on, point)
    return calibration, point


def _by_group(readings: list[Reading], point: OperatingPoint, resamples: int) -> dict[str, Any]:
    """Figures of each group, whole and in its parts; groups are never mixed, because the group tells the label."""
    result: dict[str, Any] = {}
    for group in sorted({reading.exam.group for reading in readings}):
        films = [reading for reading in readings if reading.exam.group == group]
        subsets = {
            "all": films,
            **{view.value: [reading for reading in films if reading.exam.view is view] for view in View},
            f"without {NOT_NORMAL}": [reading for reading in films if reading.exam.klass != NOT_NORMAL],
        }
        result[group] = {
            name: figures(
                np.array([reading.probability for reading in subset]),
                np.array([reading.exam.target for reading in subset]),
                [reading.exam.person for reading in subset],
                threshold=point.threshold,
                resamples=resamples,
            )
            for name, subset in subsets.items()
            if subset and (name == "all" or len(subset) < len(films))
        }
    return result
