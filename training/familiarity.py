"""``python -m training.familiarity --data DIR --split FILE --lungs FILE --out DIR``: what chest films look like."""

import json
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pneumo_monai.bundle import Gate, GateLimits
from pneumo_monai.bundle import sha256 as sha256_of
from pneumo_monai.errors import ConfigurationError, Refused
from pneumo_monai.familiarity import Familiarity, Measures, sketch
from pneumo_monai.instances import read_instance
from pneumo_monai.lungs import LUNG_SIZE, LungFields, find_lungs
from pneumo_monai.network import LungNet
from pneumo_monai.pixels import read_film
from pneumo_monai.weights import load_network
from training.cache import PixelCache
from training.corruptions import CORRUPTIONS
from training.entry import start
from training.records import Exam, read_folders
from training.split import Part, read_split

__all__ = ["GATE", "fit_state", "read_result", "wilson"]

GATE = Path("gate.pt")
"""The weights in the folder of a result, beside gate.json."""

FIGURES = Path("gate.json")

DIRECTIONS = 20
"""Directions in which chest films may differ. Fewer miss turned films, more know the training films by heart."""

REFUSALS = 0.01
"""Share of held-out films of each folder that the limits may refuse: what is promised of others. The limits do not add
up, for what breaks one often breaks two."""

TAILS = {"distance": 0.7, "turned": 0.1, "lung_share": 0.1, "undecided_share": 0.1}
"""How the limits share that: turned films are far beyond any limit, and need the least."""

FOLDS = 5

CORRUPTED = 200
"""Test films that each corruption is made of."""

_UNLIMITED = GateLimits(distance=1e9, turned=1e9, lung_share=0.0, undecided_share=1.0)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """A film, its lungs and its sketch."""

    exam: Exam
    fields: LungFields
    sketch: NDArray[np.float32]


def fit_state(sketches: NDArray[np.float32], folders: list[str], *, directions: int = DIRECTIONS) -> dict[str, Tensor]:
    """Fit probabilistic principal components to sketches (N, F), every folder with the same weight.

    Without the weights the largest folder, which may hold normal films alone, would say what a chest looks like.
    """
    names, owners, counts = np.unique(folders, return_inverse=True, return_counts=True)
    weights = 1.0 / (len(names) * counts[owners])
    mean = weights @ sketches
    away = (sketches - mean) * np.sqrt(weights)[:, None]
    _, values, rows = np.linalg.svd(away, full_matrices=False)
    rest = sketches.shape[1] - directions
    if len(values) <= directions:
        raise ConfigurationError(f"--data: {len(sketches)} films are too few for {directions} directions")
    parts = (mean, rows[:directions], values[:directions] ** 2, (values[directions:] ** 2).sum() / rest)
    return {
        name: torch.as_tensor(part, dtype=torch.float32)
        for name, part in zip(("mean", "directions", "variances", "noise"), parts, strict=True)
    }


def familiarity(
    data: Annotated[list[Path], typer.Option(help="Folder of whole frontal films; may be repeated.")],
    split: Annotated[Path, typer.Option(help="split.csv of training.divide or of an earlier run.")],
    lungs: Annotated[Path, typer.Option(help="lungs.pt of training.segment.")],
    out: Annotated[Path, typer.Option(help="Folder for gate.pt and gate.json.")],
    others: Annotated[
        list[Path] | None, typer.Option(help="Folder of other chest films, children's say; figures alone.")
    ] = None,
    strangers: Annotated[
        list[Path] | None, typer.Option(help="Folder of DICOM files and pictures that are no chest; figures alone.")
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of decoded pixels. [default: OUT/cache]")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that decode.")] = 2,
) -> None:
    """Fit on training persons, choose the limits on persons held out, measure on test persons and on no chests."""
    exams, elsewhere = read_folders(data), read_folders(others or [])
    parts = read_split(split, exams)
    out.mkdir(parents=True, exist_ok=True)
    network = load_network(LungNet(), lungs)
    store = PixelCache(cache or out / "cache", workers=workers)
    seen = {part: _see([e for e in exams if parts[e.person] is part], store, network) for part in Part}
    for part, films in seen.items():
        _log.info("%s: %d films", part, len(films))
        if not films:
            raise ConfigurationError(f"--split {split}: no film of the {part} part is in --data")
    state = _fit(seen[Part.TRAINING])
    torch.save(state, out / GATE)
    known = Familiarity(state, _limits(seen, state))
    figures = {
        "lungs_sha256": sha256_of(lungs),
        "gate": Gate(
            weights_sha256=sha256_of(out / GATE),
            limits=known.limits,
            false_refusals=_false_refusals(known, {**_by_part(seen), "other": _see(elsewhere, store, network)}),
            detections={
                "intervals": "95 % Wilson",
                "made of test films": _detections(known, seen[Part.TEST], network),
                "strangers": _strangers(known, strangers or [], network),
            },
        ).model_dump(mode="json"),
    }
    (out / FIGURES).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def read_result(result: Path, lungs: Path) -> Gate:
    """Return what a bundle says of a result's gate.pt.

    Raises
    ------
    ConfigurationError
        The folder is no result, or was fitted with another segmentation than `lungs`.
    """
    try:
        figures = json.loads((result / FIGURES).read_text(encoding="utf-8"))
        gate = Gate.model_validate(figures["gate"])
        fitted_with = figures["lungs_sha256"]
    except (OSError, KeyError, ValueError) as error:
        raise ConfigurationError(f"{result} is no result of training.familiarity: {error}") from error
    if fitted_with != sha256_of(lungs):
        raise ConfigurationError(f"{result} was fitted with another lungs.pt; run training.familiarity with {lungs}")
    return gate


def wilson(hits: int, count: int) -> dict[str, float | int]:
    """Return a share with its 95 % Wilson interval."""
    if count == 0:
        return {"films": 0}
    z = 1.959964
    share, spread = hits / count, 1.0 + z * z / count
    middle = (share + z * z / (2 * count)) / spread
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / spread
    low, high = max(middle - half, 0.0), min(middle + half, 1.0)
    return {"films": count, "hits": hits, "value": round(share, 4), "low": round(low, 4), "high": round(high, 4)}


def _see(exams: list[Exam], cache: PixelCache, network: LungNet) -> list[_Seen]:
    usable, skipped = cache.fill(exams, side=LUNG_SIZE, depth="float32")
    if skipped:
        _log.info("%d films could not be read", len(skipped))
    found = []
    for exam in usable:
        # The square is what the segmentation makes of the film, so finding lungs on it gives the film's own fields.
        fields = find_lungs(network, cache.square(exam, side=LUNG_SIZE, depth="float32"))
        found.append(_Seen(exam=exam, fields=fields, sketch=sketch(fields, exam.rows, exam.columns)))
    return found


def _fit(films: list[_Seen]) -> dict[str, Tensor]:
    return fit_state(np.stack([film.sketch for film in films]), [film.exam.folder for film in films])


def _limits(seen: dict[Part, list[_Seen]], state: dict[str, Tensor]) -> GateLimits:
    """Choose the limits on persons whom the fit did not see: the validation part, and each fold of the training part.

    The validation part alone is too small to say what one film in two hundred is like.
    """
    folds: list[list[_Seen]] = [[] for _ in range(FOLDS)]
    for film in seen[Part.TRAINING]:
        folds[int(sha256(film.exam.person.encode()).hexdigest(), 16) % FOLDS].append(film)
    held_out = _measured(state, seen[Part.VALIDATION])
    for fold in folds:
        rest = [film for other in folds if other is not fold for film in other]
        held_out += _measured(_fit(rest), fold)
    chosen: dict[str, list[float]] = {name: [] for name in TAILS}
    for folder in {film.exam.folder for film, _ in held_out}:
        for name, tail in TAILS.items():
            values = [getattr(measures, name) for film, measures in held_out if film.exam.folder == folder]
            share = tail * REFUSALS if name == "lung_share" else 1.0 - tail * REFUSALS
            chosen[name].append(float(np.quantile(values, share)))
    # The widest of the folders' limits: none may be refused more often than the others.
    return GateLimits(**{name: min(found) if name == "lung_share" else max(found) for name, found in chosen.items()})


def _measured(state: dict[str, Tensor], films: list[_Seen]) -> list[tuple[_Seen, Measures]]:
    known = Familiarity(state, _UNLIMITED)
    return [(film, known.measure(film.fields, film.exam.rows, film.exam.columns)) for film in films]


def _by_part(seen: dict[Part, list[_Seen]]) -> dict[str, list[_Seen]]:
    return {part.value: films for part, films in seen.items()}


def _refused(known: Familiarity, films: Iterable[_Seen]) -> list[bool]:
    shapes = [(film.fields, film.exam.rows, film.exam.columns) for film in films]
    return [known.objection(known.measure(*shape)) is not None for shape in shapes]


def _false_refusals(known: Familiarity, parts: dict[str, list[_Seen]]) -> dict[str, Any]:
    figures: dict[str, Any] = {"intervals": "95 % Wilson"}
    for part, films in parts.items():
        refused = np.array(_refused(known, films))
        for folder in sorted({film.exam.folder for film in films}):
            subsets = {"all": np.array([film.exam.folder == folder for film in films])}
            for target, name in ((1, "positive"), (0, "negative")):
                subsets[name] = subsets["all"] & np.array([film.exam.target == target for film in films])
            for view in sorted({film.exam.view.value for film in films}):
                subsets[view] = subsets["all"] & np.array([film.exam.view.value == view for film in films])
            found = {name: wilson(int(refused[mine].sum()), int(mine.sum())) for name, mine in subsets.items()}
            figures.setdefault(part, {})[folder] = found
            _log.info("false refusals, %s, %s: %s", part, folder, found["all"])
    return figures


def _detections(known: Familiarity, films: list[_Seen], network: LungNet) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    chosen = [films[place] for place in generator.permutation(len(films))[:CORRUPTED]]
    figures = {}
    for name, corrupt in CORRUPTIONS.items():
        hits = 0
        for film in chosen:
            square = np.ascontiguousarray(corrupt(film.fields.picture, generator), dtype=np.float32)
            hits += known.objection(known.measure(find_lungs(network, square), LUNG_SIZE, LUNG_SIZE)) is not None
        figures[name] = wilson(hits, len(chosen))
        _log.info("refused, %s: %s", name, figures[name])
    return figures


def _strangers(known: Familiarity, folders: list[Path], network: LungNet) -> dict[str, Any]:
    """Return why each file of a folder is refused, null where it is not; what cannot be read is left out."""
    figures: dict[str, Any] = {}
    for file in sorted(file for folder in folders for file in folder.rglob("*") if file.is_file()):
        film = _film(file)
        if film is not None:
            figures[file.name] = known.objection(known.measure(find_lungs(network, film), *film.shape))
            _log.info("%s: %s", file.name, figures[file.name] or "not refused")
    return figures


def _film(file: Path) -> NDArray[np.float32] | None:
    if file.suffix.lower() in {".png", ".jpg", ".jpeg"}:
        with Image.open(file) as picture:
            return np.asarray(picture.convert("L"), dtype=np.float32) / np.float32(255.0)
    try:
        return read_film(read_instance(file))
    except (Refused, RecursionError):
        return None


if __name__ == "__main__":
    start(familiarity)
