"""What a run shows in TensorBoard beside its curves: the films as the network meets them, and its confusion matrix."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from monai.utils import CommonKeys
from numpy.typing import NDArray
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.utils import make_grid

from training.films import BOXES

__all__ = ["Pictures", "confusion_figure", "film_grid"]

_MOST = 32


def film_grid(image: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
    """Lay films side by side, the cells of their boxes tinted, positive films with a bar on top.

    Parameters
    ----------
    image : Tensor
        (B, 1, H, W) float32 in [0, 1].
    boxes : Tensor
        (B, 1, G, G) float32, the share of each cell in a box: what the network is told.
    labels : Tensor
        (B,) 0 or 1.

    Returns
    -------
    Tensor
        (3, H', W') float32 in [0, 1].
    """
    share = interpolate(boxes, size=image.shape[-2:], mode="nearest")
    orange = torch.tensor([1.0, 0.55, 0.1]).reshape(3, 1, 1)
    colour = image + 0.4 * share * (orange - image)
    bar = max(image.shape[-1] // 32, 1)
    colour[labels > 0.5, :, :bar] = orange
    return make_grid(colour, nrow=8)


def confusion_figure(counts: NDArray[np.int64]) -> Figure:
    """Draw a confusion matrix, (2, 2) with the truth in rows."""
    figure = Figure(figsize=(3, 3), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts / counts.sum(axis=1, keepdims=True).clip(min=1), cmap="Blues", vmin=0.0, vmax=1.0)
    for (true, called), count in np.ndenumerate(counts):
        axes.text(called, true, str(count), ha="center", va="center")
    axes.set(xlabel="called", ylabel="true")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks([0, 1], ["negative", "positive"])
    return figure


class Pictures(pl.Callback):
    """Draws a batch of augmented films whenever their size changes, and the confusion matrix of each validation."""

    def __init__(self) -> None:
        self._side = 0

    def on_train_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,  # noqa: ARG002 Lightning's signature
        batch: dict[str, Tensor],
        batch_idx: int,  # noqa: ARG002 Lightning's signature
    ) -> None:
        """Show the first batch of the run, and of each size."""
        side, board = batch[CommonKeys.IMAGE].shape[-1], _board(trainer)
        if side == self._side or board is None:
            return
        self._side = side
        films: Any = trainer.datamodule  # type: ignore[attr-defined]
        image, boxes, labels = (batch[key][:_MOST].cpu() for key in (CommonKeys.IMAGE, BOXES, CommonKeys.LABEL))
        shown = (image * films.std + films.mean).clamp(0.0, 1.0)
        board.add_image("train/films", film_grid(shown, boxes, labels), trainer.global_step)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the confusion matrix at 0.5; every process computes it, because it is gathered from all."""
        confusion: Any = pl_module.confusion
        counts, board = confusion.compute(), _board(trainer)
        if board is not None:
            board.add_figure("val/confusion", confusion_figure(counts.cpu().numpy()), trainer.global_step)


def _board(trainer: pl.Trainer) -> Any:
    """Return TensorBoard's writer in the first process, else None."""
    logger = trainer.logger
    return logger.experiment if trainer.is_global_zero and isinstance(logger, TensorBoardLogger) else None
