"""What the network is told."""

import pytest
import torch
from monai.losses import FocalLoss
from torch.nn.functional import binary_cross_entropy_with_logits

from pneumo_monai.network import ResNet18
from training.objective import AuxiliaryHeads, auxiliary_loss, classification_loss
from training.recipe import Objective

LOGITS = torch.tensor([-2.0, 0.3, 1.5, 4.0])
LABELS = torch.tensor([0.0, 1.0, 0.0, 1.0])


def test_without_settings_it_is_cross_entropy() -> None:
    found = classification_loss(LOGITS, LABELS, Objective(), positive_weight=1.0)
    torch.testing.assert_close(found, binary_cross_entropy_with_logits(LOGITS, LABELS))


def test_the_positive_weight_is_torchs() -> None:
    found = classification_loss(LOGITS, LABELS, Objective(), positive_weight=3.0)
    torch.testing.assert_close(found, binary_cross_entropy_with_logits(LOGITS, LABELS, pos_weight=torch.tensor(3.0)))


def test_focal_loss_is_monais() -> None:
    found = classification_loss(LOGITS, LABELS, Objective(focal_gamma=2.0), positive_weight=1.0)
    torch.testing.assert_close(found, FocalLoss(gamma=2.0)(LOGITS[:, None], LABELS[:, None]))


def test_smoothing_moves_labels_towards_the_middle() -> None:
    found = classification_loss(LOGITS, LABELS, Objective(label_smoothing=0.1), positive_weight=1.0)
    torch.testing.assert_close(found, binary_cross_entropy_with_logits(LOGITS, LABELS * 0.9 + 0.05))


def test_heads_follow_the_networks_scales() -> None:
    fine, coarse = ResNet18().pyramid(torch.zeros(2, 1, 128, 128))
    classes, boxes = AuxiliaryHeads()(fine, coarse)
    assert classes.shape == (2, 3)
    assert boxes.shape == (2, 1, 8, 8)


def test_where_nobody_drew_boxes_nothing_is_learnt_from_the_map() -> None:
    cells = torch.randn(2, 1, 4, 4, requires_grad=True)
    found = (torch.zeros(2, 3), cells)
    loss = auxiliary_loss(
        found, torch.tensor([2, -1]), torch.ones(2, 1, 4, 4), torch.tensor([1.0, 0.0]), Objective(box_weight=1.0)
    )
    loss.backward()
    assert cells.grad is not None
    assert cells.grad[0].abs().min() > 0.0
    assert not cells.grad[1].any()


def test_an_unknown_class_counts_for_nothing() -> None:
    objective = Objective(class_weight=2.0)
    found = (torch.zeros(2, 3), torch.zeros(2, 1, 4, 4))
    loss = auxiliary_loss(found, torch.tensor([2, -1]), torch.zeros(2, 1, 4, 4), torch.ones(2), objective)
    assert float(loss) == pytest.approx(2.0 * float(torch.log(torch.tensor(3.0))) / 2)
