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
from pneumo_monai.evaluation.cases import CaseReading
from pneumo_monai.evaluation.document import how_measured
from pneumo_monai.evaluation.figures import PREVALENCE
from pneumo_monai.evaluation.groups import Protocol, groups_of, measure, mix_statement
from pneumo_monai.evaluation.mix import mix_problem, mix_weights
from pneumo_monai.evaluation.reader import compare
from pneumo_monai.evaluation.resampling import RESAMPLES
from pneumo_monai.findings import FilmFinding, OperatingPoint
from pneumo_monai.network import ResNet18
from training.calibration import choose_threshold, fit_platt
from training.cases import case_of, with_header
from training.datamodule import Films
from training.records import Exam
from training.run import BEST, open_films
from training.split import Part
from training.weights import initialise

__all__ = ["SENSITIVITY", "Assessment", "Reading", "assess", "rounded"]

SENSITIVITY = 0.90
"""The operating point is chosen for this sensitivity on the validation part."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """One held-out film and what the network said."""

    exam: Exam
    part: Part
    found: CaseReading

    @property
    def logit(self) -> float:
        """What the network gave."""
        return self.found.logit

    @property
    def probability(self) -> float:
        """Calibrated, 0 to 1."""
        return self.found.probability


@dataclass(frozen=True, kw_only=True, eq=False)
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
    protocol : Protocol
        How the figures were computed.
    metrics : dict
        What metrics.json holds: ``metrics["test"][group][part]`` is what `pneumo_monai.evaluation.groups.measure`
        returns.
    """

    state: dict[str, Tensor]
    lineage: list[dict[str, Any]]
    films: Films
    calibration: Calibration
    operating_point: OperatingPoint
    readings: list[Reading]
    protocol: Protocol
    metrics: dict[str, Any]

    @property
    def reads(self) -> str:
        """What the network sees of a film."""
        return "films cut to their lungs" if self.films.lungs else "whole films"

    def of(self, part: Part) -> list[CaseReading]:
        """Return the readings of one part."""
        return [reading.found for reading in self.readings if reading.part is part]


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


def assess(run: Path, *, prevalence: float = PREVALENCE, resamples: int = RESAMPLES) -> Assessment:
    """Read every held-out film with the run's best weights.

    Calibration and operating point come from the validation films that the recipe selects on, figures from the test
    part; both weighed to the recipe's mix where the films have its classes.

    Parameters
    ----------
    run : Path
        Folder of a finished run.
    prevalence : float
        Share of positive films for which predictive values are computed.
    resamples : int
        Of the bootstrap.

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
    seen = {part: _read(network, films, part) for part in (Part.VALIDATION, Part.TEST)}
    calibration, point = _decide(films, seen[Part.VALIDATION][0])
    readings = [
        Reading(exam=exam, part=part, found=_found(films, exam, logit, activation, calibration, point))
        for part, (logits, activations) in seen.items()
        for exam, logit, activation in zip(films.part(part), logits.tolist(), activations, strict=True)
    ]
    protocol = Protocol(threshold=point.threshold, prevalence=prevalence, mix=films.recipe.mix, resamples=resamples)
    groups = {
        part: groups_of([reading.found for reading in readings if reading.part is part], protocol.mix) for part in seen
    }
    rule = f"the highest threshold with a sensitivity of {SENSITIVITY:.2f} or more on {calibration.fitted_on}"
    metrics = {
        "operating_point": {
            "name": point.name,
            "threshold": point.threshold,
            "sensitivity": point.sensitivity,
            "specificity": point.specificity,
            "chosen": rule,
        },
        "calibration": calibration.model_dump(),
        **how_measured(groups[Part.TEST], protocol),
        "validation_mix": mix_statement(groups[Part.VALIDATION], protocol.mix),
        "validation": measure(groups[Part.VALIDATION], protocol),
        "test": measure(groups[Part.TEST], protocol),
    }
    return Assessment(
        state=state,
        lineage=lineage,
        films=films,
        calibration=calibration,
        operating_point=point,
        readings=readings,
        protocol=protocol,
        metrics=metrics,
    )


def _read(network: ResNet18, films: Films, part: Part) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the logits (N,) and class activation maps (N, H/32, W/32) of a part."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.eval().to(device)
    loader = films.held_out(films.part(part))
    with torch.inference_mode():
        seen = [network.read(batch[CommonKeys.IMAGE].to(device)) for batch in track(loader, f"Reading {part}")]
    logits, activations = (torch.cat(column).cpu() for column in zip(*seen, strict=True))
    return logits.double().numpy(), activations.numpy()


def _found(
    films: Films,
    exam: Exam,
    logit: float,
    activation: NDArray[np.float32],
    calibration: Calibration,
    point: OperatingPoint,
) -> CaseReading:
    probability = calibrated(logit, calibration)
    finding = FilmFinding(
        # The cached square does not know it, and nothing here asks for it.
        sop_instance_uid="",
        view=exam.view,
        probability=probability,
        present=probability >= point.threshold,
        activation=activation,
        geometry=exam.geometry(films.recipe.size),
        logit=logit,
    )
    return compare(with_header(case_of(exam)), finding)


def _decide(films: Films, logits: NDArray[np.float64]) -> tuple[Calibration, OperatingPoint]:
    exams, chosen = films.part(Part.VALIDATION), films.recipe.select_on
    mask = np.array([not chosen or exam.group in chosen for exam in exams])
    selected = [exam for exam, taken in zip(exams, mask, strict=True) if taken]
    labels = np.array([exam.target for exam in selected])
    weights, weighed = _weights(selected, films.recipe.mix)
    slope, intercept = fit_platt(logits[mask], labels, weights)
    groups = ", ".join(sorted({exam.group for exam in selected}))
    fitted_on = f"{len(labels)} validation films ({int(labels.sum())} positive) of {groups}"
    fitted_on += f", {weighed} weighed to the recipe's mix" if weighed else ""
    calibration = Calibration(slope=slope, intercept=intercept, fitted_on=fitted_on)
    probabilities = np.array([calibrated(logit, calibration) for logit in logits[mask].tolist()])
    threshold = choose_threshold(probabilities, labels, weights, sensitivity=SENSITIVITY)
    called = probabilities >= threshold
    point = OperatingPoint(
        name=f"sensitivity {SENSITIVITY:.2f}",
        threshold=threshold,
        sensitivity=float(np.average(called[labels == 1], weights=weights[labels == 1])),
        specificity=float(1.0 - np.average(called[labels == 0], weights=weights[labels == 0])),
    )
    _log.info("on %s: %s", fitted_on, point)
    return calibration, point


def _weights(exams: list[Exam], mix: dict[str, float]) -> tuple[NDArray[np.float64], str]:
    """Weigh each group to the mix: (N,) weights, and which groups could be weighed, empty where none could."""
    weights, weighed = np.ones(len(exams)), []
    for group in sorted({exam.group for exam in exams}):
        places = [place for place, exam in enumerate(exams) if exam.group == group]
        classes = [exams[place].klass for place in places]
        weights[places] = mix_weights(classes, mix)
        if mix_problem(classes, mix) is None:
            weighed.append(group)
    return weights, ", ".join(weighed)
