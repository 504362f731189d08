"""What one training step, one validation and one schedule are.

Shape legend: B batch, C channel (always 1), H rows, W columns.
"""

import logging
import math
from typing import Any

import pytorch_lightning as pl
import torch
from monai.utils import CommonKeys
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    BinaryAUROC,
    BinaryAveragePrecision,
    BinaryConfusionMatrix,
    BinaryF1Score,
    BinaryPrecision,
    BinaryRecall,
)

from pneumo_monai.network import ResNet18
from training.films import BOXES, BOXES_KNOWN, CLASS
from training.objective import AuxiliaryHeads, auxiliary_loss, classification_loss
from training.recipe import Objective

__all__ = ["LINEAGE", "PneumoniaModule"]

LINEAGE = "pneumo_monai_lineage"
"""Key of a checkpoint: the runs that led to its weights, oldest first, each with the persons it was trained on."""

_log = logging.getLogger(__name__)


class PneumoniaModule(pl.LightningModule):
    """Binary classification of films with Adam, warm-up and a cosine.

    Parameters
    ----------
    network : ResNet18
        Changed in place.
    learning_rate, weight_decay : float
        Of Adam; the rate is the schedule's peak.
    warm_up_epochs : float
        Epochs over which the rate grows from nothing to its peak.
    objective : Objective
        What is minimised.
    positive_weight : float or None
        Weight of a positive film in the loss; None: what the trainer's data module says.
    lineage : list of dict
        What checkpoints carry under `LINEAGE`.
    """

    def __init__(
        self,
        network: ResNet18,
        *,
        learning_rate: float,
        weight_decay: float = 0.0,
        warm_up_epochs: float = 1.0,
        objective: Objective | None = None,
        positive_weight: float | None = None,
        lineage: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        # Convolutions of this network are a fifth faster on a CPU when channels lie last; on a GPU it is no loss.
        self.network = network.to(memory_format=torch.channels_last)
        self.objective, self.positive_weight = objective or Objective(), positive_weight
        self.heads = AuxiliaryHeads() if self.objective.is_auxiliary else None
        self.learning_rate, self.weight_decay, self.warm_up_epochs = learning_rate, weight_decay, warm_up_epochs
        self.lineage = lineage or []
        self.curves = MetricCollection(
            {"auroc": BinaryAUROC(), "average_precision": BinaryAveragePrecision()}, prefix="val/"
        )
        self.decisions = MetricCollection(
            {"precision": BinaryPrecision(), "recall": BinaryRecall(), "f1": BinaryF1Score()}, prefix="val/"
        )
        self.confusion = BinaryConfusionMatrix()

    def setup(self, stage: str) -> None:  # noqa: ARG002 Lightning's signature
        """Take over what only the data can tell; every process has read them by now."""
        if self.positive_weight is None:
            self.positive_weight = self.trainer.datamodule.positive_weight  # type: ignore[attr-defined]

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 1, H, W) to logits (B,)."""
        return self._classified(self._pyramid(image)[1])

    def _pyramid(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.pyramid(image.contiguous(memory_format=torch.channels_last))

    def _classified(self, coarse: Tensor) -> Tensor:
        # The last layer costs nothing, and logits in bfloat16 would tie films that the AUROC has to rank.
        with torch.autocast(coarse.device.type, enabled=False):
            return self.network.classify(coarse.float())

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002 Lightning's signature
        """Return the loss of one batch."""
        image, labels = batch[CommonKeys.IMAGE], batch[CommonKeys.LABEL]
        fine, coarse = self._pyramid(image)
        loss = self._loss(self._classified(coarse), labels)
        self.log("train/loss", loss, on_step=True, on_epoch=True, prog_bar=True, batch_size=len(labels), sync_dist=True)
        if self.heads is not None:
            found = self.heads(fine, coarse)
            extra = auxiliary_loss(found, batch[CLASS], batch[BOXES], batch[BOXES_KNOWN], self.objective)
            self.log(
                "train/auxiliary_loss", extra, on_step=False, on_epoch=True, batch_size=len(labels), sync_dist=True
            )
            loss = loss + extra
        return loss

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        weight = 1.0 if self.positive_weight is None else self.positive_weight
        return classification_loss(logits, labels, self.objective, positive_weight=weight)

    def on_validation_epoch_start(self) -> None:
        """Give every process the first one's batch statistics: those are kept, so those are validated.

        Each process normalises by its own piece of a batch, in training; see training/README.md.
        """
        if self.trainer.world_size > 1:
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:  # noqa: ARG002 Lightning's signature
        """Collect logits; probabilities of 0.5 and more count as positive here, the operating point comes later."""
        logits, labels = self(batch[CommonKeys.IMAGE]), batch[CommonKeys.LABEL].int()
        loss = self._loss(logits, labels.float())
        self.log("val/loss", loss, prog_bar=True, batch_size=len(labels), sync_dist=True)
        # torchmetrics guesses from the range whether it sees logits: it takes those in [0, 1] for probabilities.
        probabilities = logits.sigmoid()
        for metric in (self.curves, self.decisions, self.confusion):
            metric.update(probabilities, labels)

    def on_validation_epoch_end(self) -> None:
        """Log the figures of the whole validation part."""
        figures = {**self.curves.compute(), **self.decisions.compute()}
        # They are the same in every process already; Lightning cannot know.
        self.log_dict(figures, prog_bar=True, sync_dist=True)
        counts = self.confusion.compute().flatten().tolist()
        names = ("true_negative", "false_positive", "false_negative", "true_positive")
        found = {f"val/{name}": float(count) for name, count in zip(names, counts, strict=True)}
        self.log_dict(found, sync_dist=True)
        for metric in (self.curves, self.decisions, self.confusion):
            metric.reset()
        if not self.trainer.sanity_checking:
            shown = ", ".join(f"{name} {float(value):.4f}" for name, value in figures.items())
            _log.info("epoch %d: %s", self.current_epoch, shown)

    def configure_optimizers(self) -> dict[str, Any]:
        """Return Adam and its schedule, stepped after each batch."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        total = int(self.trainer.estimated_stepping_batches)
        warm_up = self.warm_up_epochs * total / max(self.trainer.max_epochs or 1, 1)

        def factor(step: int) -> float:
            if step < warm_up:
                return (step + 1) / (warm_up + 1)
            return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * (step - warm_up) / max(total - warm_up, 1.0)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the lineage beside the weights."""
        checkpoint[LINEAGE] = self.lineage
