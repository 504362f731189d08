"""``python -m training.segment --data DIR --split FILE --out DIR``: train the U-Net that finds the lungs."""

import csv
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytorch_lightning as pl
import torch
import typer
from monai.data import set_track_meta
from monai.losses import DiceCELoss
from numpy.typing import NDArray
from PIL import Image
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pneumo_monai.errors import ConfigurationError
from pneumo_monai.lungs import LUNG_SIZE
from pneumo_monai.network import LungNet
from pneumo_monai.transforms import SquareResize
from training.augmentation import drawn_side, film_and_mask
from training.cache import PixelCache
from training.entry import start
from training.implants import implant
from training.recipe import LungRecipe
from training.records import Exam, read_folders
from training.split import Part, read_split

__all__ = ["LUNGS", "LungModule", "MaskDataset", "read_mask"]

LUNGS = Path("lungs.pt")
"""The state dict in the folder of a run, beside dice.json and dice.csv."""

MASKS = "lung_masks"

_BLANK = 0.02
"""In films that are cut to the lungs a pixel above this is lung: JPEG leaves a little more than nothing outside."""

_IMPLANTS = 0.5
"""Share of the training films that get the lungs of another."""

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""A film and its lung mask, both (side, side) uint8."""

_log = logging.getLogger(__name__)


def read_mask(exam: Exam, square: NDArray[np.uint8], *, is_cut: bool) -> NDArray[np.uint8] | None:
    """Return the lung mask of a film as a square like its own, 0 or 255; None where there is none.

    Parameters
    ----------
    exam : Exam
        Its mask is ``lung_masks/<patientId>.png`` beside the folder of images.
    square : numpy.ndarray
        (side, side) uint8, the film.
    is_cut : bool
        The film itself is cut to its lungs: what is not blank is the mask.
    """
    file = exam.path.parents[1] / MASKS / f"{exam.patient_id}.png"
    if file.is_file():
        with Image.open(file) as picture:
            film = np.asarray(picture.convert("1"), dtype=np.float32)
        mask = SquareResize(square.shape[0])(film)[0].numpy() >= 0.5
    elif is_cut:
        bright = torch.from_numpy((square > 255 * _BLANK).astype(np.float32))[None, None]
        # A closing: single black pixels inside the lungs are lung.
        closed = -torch.nn.functional.max_pool2d(-torch.nn.functional.max_pool2d(bright, 5, 1, 2), 5, 1, 2)
        mask = closed[0, 0].numpy() >= 0.5
    else:
        return None
    return np.where(mask, 255, 0).astype(np.uint8)


class MaskDataset(Dataset[dict[str, Tensor]]):
    """Films and lung masks, both (1, S, S) float32, all squares in memory.

    Parameters
    ----------
    pairs : list of Pair
        Films and their masks.
    seed : int or None
        Of the augmentation; None: there is none.
    donors : list of Pair
        Whose lungs are laid over those of other films (`training.implants`).
    """

    def __init__(self, pairs: list[Pair], *, seed: int | None, donors: list[Pair] | None = None) -> None:
        self.pairs, self.epoch = pairs, 0
        self._seed, self._donors = seed, donors or []
        self._transform = film_and_mask(LUNG_SIZE, is_random=seed is not None)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        film, mask = self.pairs[place]
        if self._seed is not None:
            sequence = np.random.SeedSequence([self._seed, self.epoch, place])
            self._transform.set_random_state(seed=int(sequence.generate_state(1)[0]))
            generator = np.random.default_rng(sequence)
            if self._donors and generator.random() < _IMPLANTS:
                film = implant(film, mask, self._donors[generator.integers(len(self._donors))], generator)
        both = self._transform(np.stack([film, mask]))
        return {"image": (both[:1] - 0.5) / 0.25, "mask": (both[1:] >= 0.5).float()}


class LungModule(pl.LightningModule):
    """`LungNet` with Dice and cross-entropy, Adam and a cosine."""

    def __init__(self, learning_rate: float) -> None:
        super().__init__()
        self.network, self.learning_rate = LungNet(), learning_rate
        self.loss = DiceCELoss(sigmoid=True, batch=True)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 1, S, S) to logits (B, 1, S, S)."""
        return self.network(image)  # type: ignore[no-any-return]

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002 Lightning's signature
        """Return the loss of one batch."""
        loss: Tensor = self.loss(self(batch["image"]), batch["mask"])
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:  # noqa: ARG002 Lightning's signature
        """Log the Dice of one batch's films."""
        self.log("val/dice", dice(self(batch["image"]) >= 0.0, batch["mask"]).mean(), prog_bar=True)

    def on_train_epoch_start(self) -> None:
        """Give each epoch augmentation of its own."""
        dataset: Any = self.trainer.train_dataloader.dataset  # type: ignore[union-attr]
        dataset.epoch = self.current_epoch

    def configure_optimizers(self) -> dict[str, Any]:
        """Return Adam and its schedule, stepped after each batch."""
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.learning_rate)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=steps, pct_start=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def dice(found: Tensor, true: Tensor) -> Tensor:
    """Return the Dice coefficient of each film: (B, 1, S, S) twice, to (B,)."""
    found, true = found.float().flatten(1), true.float().flatten(1)
    return 2.0 * (found * true).sum(1) / (found.sum(1) + true.sum(1)).clamp(min=1.0)


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    exams: list[Exam]
    squares: list[Pair]

    def donors(self, folders: list[str]) -> list[Pair]:
        """Return the films with opacities among those that are cut to their lungs."""
        both = zip(self.exams, self.squares, strict=True)
        return [pair for exam, pair in both if exam.folder in folders and exam.target == 1]


def segment(
    data: Annotated[list[Path], typer.Option(help="Folder with films and lung_masks/; may be repeated.")],
    split: Annotated[Path, typer.Option(help="split.csv of training.divide or of an earlier run.")],
    out: Annotated[Path, typer.Option(help="Folder for lungs.pt, dice.json and dice.csv.")],
    config: Annotated[Path | None, typer.Option(help="YAML file as training/configs/lungs.yaml.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of decoded pixels. [default: OUT/cache]")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that decode.")] = 2,
) -> None:
    """Train on the films of the training persons that have a mask; measure the Dice on all others."""
    recipe = LungRecipe.read(config, {})
    set_track_meta(False)
    pl.seed_everything(recipe.seed, workers=True)
    out.mkdir(parents=True, exist_ok=True)
    parts = _pairs(read_folders(data), recipe, split, PixelCache(cache or out / "cache", workers=workers))
    for part, pairs in parts.items():
        _log.info("%s: %d films with a lung mask", part, len(pairs.exams))
    module = LungModule(recipe.learning_rate)
    donors = parts[Part.TRAINING].donors(recipe.cut)
    training = MaskDataset(parts[Part.TRAINING].squares, seed=recipe.seed, donors=donors)
    generator = torch.Generator().manual_seed(recipe.seed)
    trainer = pl.Trainer(
        max_epochs=recipe.epochs,
        gradient_clip_val=1.0,
        logger=CSVLogger(out, name="log", version=""),
        callbacks=[EMAWeightAveraging(decay=0.99)],
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(
        module,
        DataLoader(training, batch_size=recipe.batch_size, shuffle=True, drop_last=True, generator=generator),
        _loader(parts[Part.VALIDATION]),
    )
    state = {n: v.half() if v.is_floating_point() else v for n, v in module.network.state_dict().items()}
    torch.save(state, out / LUNGS)
    module.network.load_state_dict({n: v.float() if v.is_floating_point() else v for n, v in state.items()})
    _measure(module.eval(), parts, out)


def _loader(pairs: _Pairs) -> DataLoader[dict[str, Tensor]]:
    return DataLoader(MaskDataset(pairs.squares, seed=None), batch_size=64)


def _pairs(exams: list[Exam], recipe: LungRecipe, split: Path, cache: PixelCache) -> dict[Part, _Pairs]:
    parts = read_split(split, exams)
    side = drawn_side(LUNG_SIZE)
    usable, skipped = cache.fill(exams, side=side, depth="uint8")
    _log.info("%d films could not be read", len(skipped))
    found = {part: _Pairs(exams=[], squares=[]) for part in Part}
    cut: dict[Part, int] = dict.fromkeys(Part, 0)
    order = np.random.default_rng(recipe.seed).permutation(len(usable))
    for exam in (usable[place] for place in order):
        part, is_cut = parts[exam.person], exam.folder in recipe.cut
        if is_cut and cut[part] >= recipe.cut_films:
            continue
        square = cache.square(exam, side=side, depth="uint8")
        mask = read_mask(exam, square, is_cut=is_cut)
        if mask is not None:
            cut[part] += is_cut
            found[part].exams.append(exam)
            found[part].squares.append((square, mask))
    if empty := [part for part, pairs in found.items() if not pairs.exams and part is not Part.TEST]:
        raise ConfigurationError(f"the {empty[0]} part has no film with a mask; lay masks as {MASKS}/<patientId>.png")
    return found


def _measure(module: LungModule, parts: dict[Part, _Pairs], out: Path) -> None:
    rows: list[tuple[Exam, Part, float]] = []
    with torch.inference_mode():
        for part in (Part.VALIDATION, Part.TEST):
            values = [dice(module(b["image"]) >= 0.0, b["mask"]) for b in _loader(parts[part])] or [torch.zeros(0)]
            rows += [(exam, part, v) for exam, v in zip(parts[part].exams, torch.cat(values).tolist(), strict=True)]
    with (out / "dice.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["patientId", "folder", "person", "part", "class", "dice"])
        writer.writerows([e.patient_id, e.folder, e.person, p, e.klass, f"{v:.4f}"] for e, p, v in rows)
    figures: dict[str, Any] = {}
    for part, folder in sorted({(p, e.folder) for e, p, _ in rows}):
        chosen = [(e, v) for e, p, v in rows if (p, e.folder) == (part, folder)]
        for klass in ("all", *sorted({e.klass for e, _ in chosen})):
            mine = [(e, v) for e, v in chosen if klass in {"all", e.klass}]
            mean = _interval([v for _, v in mine], [e.person for e, _ in mine])
            figures.setdefault(part.value, {}).setdefault(folder, {})[klass] = {"exams": len(mine), **mean}
            _log.info("%s, %s, %s: %d films, Dice %s", part, folder, klass, len(mine), mean)
    (out / "dice.json").write_text(json.dumps(figures, indent=2), encoding="utf-8")


def _interval(values: list[float], persons: list[str], *, resamples: int = 1000) -> dict[str, float]:
    """Return the mean and its 95 % bootstrap interval, resampled by person."""
    names, owners = np.unique(persons, return_inverse=True)
    sums, counts = np.bincount(owners, values), np.bincount(owners)
    drawn = np.random.default_rng(0).integers(0, len(names), (resamples, len(names)))
    low, high = np.percentile(sums[drawn].sum(1) / counts[drawn].sum(1), [2.5, 97.5])
    return {"value": round(float(np.mean(values)), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


if __name__ == "__main__":
    start(segment)
