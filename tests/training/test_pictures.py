"""What TensorBoard shows beside the curves."""

import numpy as np
import torch

from training.pictures import confusion_figure, film_grid


def test_the_cells_of_boxes_are_tinted_and_positive_films_have_a_bar() -> None:
    boxes = torch.zeros(2, 1, 4, 4)
    boxes[1, 0, 2, 2] = 1.0
    grid = film_grid(torch.full((2, 1, 64, 64), 0.5), boxes, torch.tensor([0.0, 1.0]))
    assert grid.shape[0] == 3
    first, second = grid[:, 2:66, 2:66], grid[:, 2:66, 68:132]
    assert torch.equal(first, torch.full((3, 64, 64), 0.5))
    assert (second[0, 32:48, 32:48] > 0.6).all()
    assert (second[2, 32:48, 32:48] < 0.4).all()
    assert (second[0, :2] == 1.0).all()
    assert torch.equal(second[:, 4:32], torch.full((3, 28, 64), 0.5))


def test_the_confusion_matrix_shows_its_counts() -> None:
    figure = confusion_figure(np.array([[5, 0], [0, 0]]))
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["0", "0", "0", "5"]
