"""Drawing: boxes, polygons, points and captions over a photo.

Lines and letters follow the picture's size and, for a small thing, the thing's. Every line has a dark rim and
every caption a dark panel, so that both are legible on any photo.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from regard.vision.geometry import Box

Colour = tuple[int, int, int]

# Okabe and Ito, "Color Universal Design", 2008: told apart with every kind of colour vision.
SKY, ORANGE, GREEN, YELLOW, PURPLE, VERMILION = PALETTE = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (213, 94, 0),
)
_RIM = (18, 20, 24)
_PANEL = (18, 20, 24, 210)
_TITLE = (255, 255, 255)
_TEXT = (206, 212, 220)
_SUBPIXEL = 4
_TURN = np.linspace(0, 2 * np.pi, 16, endpoint=False)
_DISC = np.stack([np.cos(_TURN), np.sin(_TURN)], 1)  # OpenCV draws a small circle as a square


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing to draw: a box, points [n, 2] in pixels, and lines of text, the first of them the title.

    `polygon` [n, 2], in pixels, is drawn in place of the box, which then says how large and where the thing is.
    """

    box: Box
    points: NDArray[np.float64]
    lines: tuple[str, ...]
    colour: Colour = SKY
    polygon: NDArray[np.float64] | None = None


def draw(image: NDArray[np.uint8], marks: Sequence[Mark]) -> NDArray[np.uint8]:
    """A copy of `image` [h, w, 3] RGB with the marks; later ones lie over earlier ones, captions over all."""
    picture = np.ascontiguousarray(image).copy()
    for mark in marks:
        _outline(picture, mark)
    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas, "RGBA")
    boxes = [mark.box for mark in marks]
    panels: list[Box] = []
    for mark in marks:
        if mark.lines:
            others = [box for box in boxes if box is not mark.box]
            panels.append(_caption(pen, canvas.size, mark, [*others, *panels]))
    return np.array(canvas)


def caption_below(image: NDArray[np.uint8], lines: Sequence[str], room: int) -> NDArray[np.uint8]:
    """`image` [h, w, 3] RGB with a dark band below it that has room for so many lines of text, cut where too long."""
    height = max(11.0, min(image.shape[:2]) / 26)
    step, pad = 1.3 * height, 0.45 * height
    band = np.full((round(room * step + pad), *image.shape[1:]), _RIM, np.uint8)
    canvas = Image.fromarray(np.vstack([image, band]))
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(height)
    for i, line in enumerate(lines[:room]):
        text = _fitting(_drawable(line), font, canvas.width - 2 * pad)
        at = (pad, image.shape[0] + pad / 2 + (i + 0.5) * step)
        pen.text(at, text, fill=_TEXT if i else _TITLE, font=font, anchor="lm")
    return np.array(canvas)


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """As much of a text as there is room for."""
    if font.getlength(text) <= width:
        return text
    room = next(length for length in range(len(text), -1, -1) if font.getlength(text[:length] + "...") <= width)
    return text[:room] + "..."


def _outline(picture: NDArray[np.uint8], mark: Mark) -> None:
    """The box or polygon and the points, each in its colour over a wider dark one."""
    stroke = max(1, round(min(*picture.shape[:2], 6 * mark.box.width) / 240))
    left, top = mark.box.left, mark.box.top
    right, bottom = left + mark.box.width, top + mark.box.height
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    outline = _fixed(corners if mark.polygon is None else mark.polygon)
    radius = max(0.5, mark.box.width / 80)
    for rim, colour in ((1, _RIM), (0, mark.colour)):
        cv2.polylines(picture, [outline], True, colour, stroke + 2 * rim, cv2.LINE_AA, _SUBPIXEL)
        disc = (radius + rim * min(0.7, radius / 2)) * _DISC
        for point in mark.points:
            cv2.fillConvexPoly(picture, _fixed(point + disc), colour, cv2.LINE_AA, _SUBPIXEL)


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Coordinates as OpenCV takes them, with `_SUBPIXEL` bits after the point."""
    return np.asarray(np.rint(points * 2**_SUBPIXEL), np.int32)


def _caption(pen: ImageDraw.ImageDraw, size: tuple[int, int], mark: Mark, others: list[Box]) -> Box:
    """Draws the caption where it hides least, and returns its panel."""
    height = max(11.0, min(min(size) / 30, mark.box.width / 6))
    font = ImageFont.load_default(height)
    lines = [_drawable(line) for line in mark.lines]
    step, pad, bar = 1.3 * height, 0.45 * height, max(2.0, height / 5)
    width = max(font.getlength(line) for line in lines) + 2 * pad + bar
    panel = _place(mark.box, (width, len(lines) * step + pad), size, others)
    right, bottom = panel.left + panel.width, panel.top + panel.height
    pen.rectangle((panel.left, panel.top, right, bottom), fill=_PANEL)
    pen.rectangle((panel.left, panel.top, panel.left + bar, bottom), fill=mark.colour)
    for i, line in enumerate(lines):
        at = (panel.left + bar + pad, panel.top + pad / 2 + (i + 0.5) * step)
        pen.text(at, line, fill=_TEXT if i else _TITLE, font=font, anchor="lm")
    return panel


def _drawable(text: str) -> str:
    """Pillow's own font knows no letters but ASCII's: accents are left out."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode() or "?"


def _place(face: Box, panel: tuple[float, float], picture: tuple[int, int], others: list[Box]) -> Box:
    """Below the face, above or beside it: the first place that hides least of it and the others."""
    width, height = panel
    gap = height / 12
    right, bottom = face.left + face.width, face.top + face.height
    aligned = (face.left, right - width)
    beside = (right + gap, face.left - width - gap)
    corners = (
        *((left, bottom + gap) for left in aligned),
        *((left, face.top - height - gap) for left in aligned),
        *((left, top) for left in beside for top in (face.top, bottom - height)),
    )
    places = [
        Box(
            min(max(left, 0), max(picture[0] - width, 0)),
            min(max(top, 0), max(picture[1] - height, 0)),
            width,
            height,
        )
        for left, top in corners
    ]
    return min(places, key=lambda place: sum(_overlap(place, box) for box in (face, *others)))


def _overlap(a: Box, b: Box) -> float:
    width = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    height = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
    return max(width, 0) * max(height, 0)
