"""Pixels as most networks want them: one plane for each colour, as floats."""

import cv2
import numpy as np
from numpy.typing import NDArray

LEVELS = np.arange(256, dtype=np.float32)
"""What a sample of a picture can be."""


def planes(pixels: NDArray[np.uint8], levels: NDArray[np.float32], *, bgr: bool = False) -> NDArray[np.float32]:
    """float32 [1, 3, h, w] of `pixels`, RGB [h, w, 3]; red first, or blue first with `bgr`.

    `levels` [3, 256] says what each of the 256 levels becomes, plane by plane. Looking that up costs an eighth of the
    arithmetic on floats, whose intermediate results are as large as the planes.
    """
    blob = np.empty((1, 3, *pixels.shape[:2]), np.float32)
    channels = cv2.split(pixels)
    for place, channel in enumerate(reversed(channels) if bgr else channels):
        cv2.LUT(channel, levels[place], dst=blob[0, place])
    return blob
