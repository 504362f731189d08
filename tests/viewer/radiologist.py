"""What a radiologist does in OHIF, and what the page then shows, as text and as pixels."""

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.peers import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["WINDOW", "Box", "Radiologist"]

WINDOW = (1280, 800)
"""Width and height of the browser's window, in pixels."""

_PATIENCE = 90.0
"""Seconds: the viewer is 17 MB of JavaScript and draws by software."""

_DRAWN = 20.0
"""Standard deviation of the pane's pixels above which there is an image in it."""

_READ = """pane => {
  const frame = pane.getBoundingClientRect();
  const nodes = document.createTreeWalker(pane, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  const lines = [];
  while (nodes.nextNode()) {
    range.selectNodeContents(nodes.currentNode);
    const box = range.getBoundingClientRect();
    const seen = box.width > 0 && box.left >= frame.left && box.right <= frame.right
      && box.top >= frame.top && box.bottom <= frame.bottom;
    if (seen) lines.push(nodes.currentNode.textContent.trim());
  }
  return lines.join('\\n');
}"""


class Box(NamedTuple):
    """A rectangle of the page, in pixels."""

    left: float
    top: float
    right: float
    bottom: float


class Radiologist:
    """Opens results in the viewer and looks at them.

    Parameters
    ----------
    page : playwright.sync_api.Page
        Of a browser.
    url : str
        Of the viewer.
    """

    def __init__(self, page: "Page", url: str) -> None:
        self._page, self._url = page, url
        self._pane = page.locator('[data-cy="viewport-pane"]')
        page.set_default_timeout(_PATIENCE * 1000)
        self._resize(0)

    def open(self, study_instance_uid: str, series_number: int) -> None:
        """Open a study, wait for its film, and open one of its series by a double click in the list."""
        self._page.goto(f"{self._url}/viewer?StudyInstanceUIDs={study_instance_uid}")
        self._page.wait_for_load_state("networkidle")
        self.wait("the film is drawn", lambda: float(self.pixels().std()) > _DRAWN)
        self._page.locator(f'[data-series="{series_number}"]').dblclick()

    def wait(self, what: str, look: Callable[[], object]) -> None:
        """Wait until `look` is true."""
        wait_until(what, look, _PATIENCE)

    def read(self) -> str:
        """Return the text in the pane, but for what its edges cut off."""
        return str(self._pane.evaluate(_READ))

    def wait_to_read(self, words: str) -> str:
        """Return the text in the pane once these words are read.

        The viewer adds a region to a film that is drawn already, and shows it when it draws the next time: at once, or
        when contrast, zoom or the size of its window change. This changes the window.
        """

        def look() -> bool:
            if words in self.read():
                return True
            self._resize(1)
            self._resize(0)
            self._page.wait_for_timeout(500)
            return False

        self.wait(f"{words!r} is read", look)
        return self.read()

    def outline(self) -> Box:
        """Return where on the page the outline of a region is."""
        return self._box("svg.svg-layer polyline")

    def image(self, rows: int, columns: int) -> Box:
        """Return where on the page an image of this size is: as large as fits, in the middle."""
        left, top, right, bottom = self._box("canvas.cornerstone-canvas")
        scale = min((right - left) / columns, (bottom - top) / rows)
        across, down = (left + right) / 2, (top + bottom) / 2
        half_width, half_height = columns * scale / 2, rows * scale / 2
        return Box(across - half_width, down - half_height, across + half_width, down + half_height)

    def pixels(self, box: Box | None = None) -> NDArray[np.uint8]:
        """Return what is seen in a box, by default in the whole pane: (H, W, 3) uint8."""
        left, top, right, bottom = box or self._box("xpath=.")
        clip = {"x": left, "y": top, "width": right - left, "height": bottom - top}
        return np.asarray(Image.open(BytesIO(self._page.screenshot(clip=clip))).convert("RGB"))

    def take_picture(self, name: str) -> None:
        """Write the page as a small PNG into the folder VIEWER_SCREENSHOTS of the environment, if there is one."""
        if folder := os.environ.get("VIEWER_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            picture = Image.open(BytesIO(self._page.screenshot())).convert("RGB")
            few = picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
            few.save(Path(folder) / f"{name}.png", optimize=True)

    def _resize(self, by: int) -> None:
        width, height = WINDOW
        self._page.set_viewport_size({"width": width + by, "height": height})

    def _box(self, selector: str) -> Box:
        box = self._pane.locator(selector).first.bounding_box()
        assert box is not None
        return Box(box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])
