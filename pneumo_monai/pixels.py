"""Stored values to displayed values: what a film looks like to a person, as numbers.

Training, evaluation and the service all start from `read_film`; there is no second implementation.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pneumo_monai.decoding import decode
from pneumo_monai.grayscale import displayed_values
from pneumo_monai.pixel_description import MAX_PIXELS, MIN_SIDE, PixelDescription, check_pixel_description

__all__ = ["MAX_PIXELS", "MIN_SIDE", "Decode", "PixelDescription", "check_pixel_description", "read_film"]

_BLOCK = 1 << 18
"""Pixels that are looked up at once: numpy widens their indices to eight bytes each."""


Decode = Callable[[Dataset, PixelDescription], NDArray[np.unsignedinteger[Any]]]
"""What `pneumo_monai.decoding.decode` is, here or in another process."""


def read_film(dataset: Dataset, decode: Decode = decode) -> NDArray[np.float32]:
    """Decode one grayscale film into displayed values.

    Modality LUT Sequence or rescale (PS3.3 C.11.1); then the first item of VOI LUT Sequence, else the first window with
    its VOI LUT Function (C.11.2), else the full range that Bits Stored can hold (so 8 bit is ``x / 255``); MONOCHROME1
    is inverted last. Pixels in the padding range (C.7.5.1.1.2) are black. Presentation LUT Shape (2050,0020) is not
    read: where it belongs, it repeats the Photometric Interpretation (C.8.11.3.1.2).

    Parameters
    ----------
    dataset : Dataset
        An instance with file meta information and Pixel Data (7FE0,0010).
    decode : Decode
        How Pixel Data becomes stored bits.

    Returns
    -------
    numpy.ndarray
        Film, shape (H, W), float32, 0 (black) to 1 (white).

    Raises
    ------
    Refused
        From `check_pixel_description`, or because the codestream or a lookup table cannot be decoded.
    OutOfResources
        Memory does not suffice.
    """
    description = check_pixel_description(dataset)
    table = displayed_values(dataset, description)
    stored = np.ascontiguousarray(decode(dataset, description))
    film = np.empty(stored.shape, dtype=np.float32)
    for start in range(0, stored.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        table.take(stored.reshape(-1)[block], out=film.reshape(-1)[block], mode="clip")
    return film
