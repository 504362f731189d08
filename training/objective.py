"""What the network is told: the loss of its one logit, and what helps it to find the same features sooner.

Shape legend: B batch, C channel, G side of the grid of boxes.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, interpolate

from training.films import CLASSES
from training.recipe import Objective

__all__ = ["AuxiliaryHeads", "auxiliary_loss", "classification_loss"]


def classification_loss(logits: Tensor, labels: Tensor, objective: Objective, *, positive_weight: float) -> Tensor:
    """Return the mean loss of a batch.

    Cross-entropy, or with ``focal_gamma`` above 0 the focal loss (Lin et al., ICCV 2017), which turns from what the
    network is sure of already.

    Parameters
    ----------
    logits, labels : Tensor
        (B,) float; labels are 0 or 1.
    objective : Objective
        Smoothing and gamma.
    positive_weight : float
        Weight of a positive film.
    """
    smooth = labels * (1.0 - objective.label_smoothing) + 0.5 * objective.label_smoothing
    loss = binary_cross_entropy_with_logits(logits, smooth, reduction="none")
    weight = torch.where(labels > 0.5, positive_weight, 1.0)
    if objective.focal_gamma > 0.0:
        correct = torch.where(labels > 0.5, logits, -logits).sigmoid()
        weight = weight * (1.0 - correct) ** objective.focal_gamma
    return (weight * loss).mean()


class AuxiliaryHeads(nn.Module):
    """Two heads for training alone: the detailed class, and where the boxes are.

    The boxes tell which of a film's pixels the label is about, and the third class that an abnormal film need not have
    an opacity: with a few thousand films the last feature maps learn both sooner so. Neither head is exported.
    """

    def __init__(self) -> None:
        super().__init__()
        self.classes = nn.Linear(512, len(CLASSES))
        self.fine, self.coarse = nn.Conv2d(256, 1, 1), nn.Conv2d(512, 1, 1)

    def forward(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Map the two last scales, (B, 256, G, G) and (B, 512, G/2, G/2), to logits (B, 3) and (B, 1, G, G)."""
        below = interpolate(self.coarse(coarse), size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return self.classes(coarse.mean(dim=(2, 3))), self.fine(fine) + below


def auxiliary_loss(
    found: tuple[Tensor, Tensor], classes: Tensor, boxes: Tensor, boxes_known: Tensor, objective: Objective
) -> Tensor:
    """Return the weighed sum of both heads' losses.

    Parameters
    ----------
    found : tuple of Tensor
        What `AuxiliaryHeads` returns.
    classes : Tensor
        (B,) int64 places in `CLASSES`, -1 where the class is not one of them.
    boxes : Tensor
        (B, 1, G, G) float, the share of each cell inside a box.
    boxes_known : Tensor
        (B,) float, 0 where a film is positive and nobody drew boxes: nothing is learnt from its map.
    objective : Objective
        The weights of both.
    """
    class_logits, box_logits = found
    by_class = cross_entropy(class_logits, classes, ignore_index=-1, reduction="sum") / len(classes)
    by_cell = binary_cross_entropy_with_logits(box_logits, boxes, reduction="none").mean(dim=(1, 2, 3))
    return objective.class_weight * by_class + objective.box_weight * (by_cell * boxes_known).mean()
