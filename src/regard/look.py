"""Pictures of results: boxes, landmarks and captions drawn over a photo.

People judge a recognition system by looking at what it found; the tour and the README show these pictures.
Lines and letters follow the picture's size and, for a small face, the face's. Every line has a dark rim and
every caption a dark panel, so that both are legible on any photo.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.table import Table
from rich.text import Text

from regard.media.images import ImageError, decode
from regard.vision.attributes import ATTRIBUTES
from regard.vision.faces import Face, FaceEngine
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
# What a caption mentions where it is seen, and the confidence that it takes to mention it, or a gender.
TRAITS = ("smile", "eyeglasses", "sunglasses", "beard", "mustache")
TOLD = (*TRAITS, "eyes_open", "mouth_open", "face_occluded")
SURE = 90.0
_RIM = (18, 20, 24)
_PANEL = (18, 20, 24, 210)
_TITLE = (255, 255, 255)
_TEXT = (206, 212, 220)
_SUBPIXEL = 4
_TURN = np.linspace(0, 2 * np.pi, 16, endpoint=False)
_DISC = np.stack([np.cos(_TURN), np.sin(_TURN)], 1)  # OpenCV draws a small circle as a square


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing to draw: a box, points [n, 2] in pixels, and lines of text, the first of them the title."""

    box: Box
    points: NDArray[np.float64]
    lines: tuple[str, ...]
    colour: Colour = SKY


def look_at(engine: FaceEngine, photo: Path, out: Path, console: Console) -> bool:
    """Tell what is seen in the faces of a photo and draw it into the folder `out`; False for no picture."""
    try:
        image = decode(photo.read_bytes())
    except (OSError, ImageError) as error:
        console.print(Text(f"{photo}: {error}", style="red"))
        return False
    faces = engine.describe(image, engine.detect(image), frozenset(ATTRIBUTES))
    drawn = out / f"{photo.stem}-faces.png"
    Image.fromarray(annotate(image, faces)).save(drawn)
    console.print(Text(f"{photo}: {len(faces)} faces, drawn in {drawn}", style="bold"))
    if faces:
        console.print(_table(faces))
    return True


def _table(faces: Sequence[Face]) -> Table:
    """What is known of each face, the largest first; confidences in percent."""
    table = Table("Face", "Pixels", "Age", "Gender", "Expression", "Seen", "Roll, yaw, pitch", "Bright, sharp")
    for face in faces:
        box, turned = face.detection.box, face.pose
        seen = (
            f"{name.replace('_', ' ')} {answer.confidence:.0f}"
            for name in TOLD
            if (answer := getattr(face, name)) and answer.value
        )
        table.add_row(
            f"{face.detection.confidence:.1f}",
            f"{box.width:.0f}×{box.height:.0f}",
            f"{face.age_range[0]}-{face.age_range[1]} years" if face.age_range else "",
            f"{face.gender.value} {face.gender.confidence:.0f}" if face.gender else "",
            f"{face.emotions[0][0].lower()} {face.emotions[0][1]:.0f}" if face.emotions else "",
            ", ".join(seen),
            f"{round(turned.roll)}°, {round(turned.yaw)}°, {round(turned.pitch)}°",
            f"{face.quality.brightness:.0f}, {face.quality.sharpness:.0f}",
        )
    return table


def annotate(image: NDArray[np.uint8], faces: Sequence[Face]) -> NDArray[np.uint8]:
    """A copy of `image` [h, w, 3] RGB with the faces found in it, each captioned with what is known of it."""
    return draw(
        image,
        [
            Mark(face.detection.box, np.asarray(face.landmarks, np.float64), _caption_of(face), colour)
            for face, colour in zip(faces, cycle(PALETTE), strict=False)
        ],
    )


def _caption_of(face: Face) -> tuple[str, ...]:
    return caption(
        face.detection.confidence,
        age_range=face.age_range,
        gender=face.gender.value if face.gender and face.gender.confidence >= SURE else None,
        emotion=max(face.emotions, key=lambda emotion: emotion[1])[0] if face.emotions else None,
        traits=[
            name for name in TRAITS if (answer := getattr(face, name)) and answer.value and answer.confidence >= SURE
        ],
    )


def caption(
    confidence: float,
    *,
    age_range: tuple[int, int] | None = None,
    gender: str | None = None,
    emotion: str | None = None,
    traits: Sequence[str] = (),
) -> tuple[str, ...]:
    """The lines of text for a face: `confidence` in percent, then what is known of its looks."""
    age = f"{age_range[0]}-{age_range[1]} years" if age_range else None
    looks = (age, gender and gender.lower(), emotion and emotion.lower())
    lines = (f"face {confidence:.1f} %", ", ".join(filter(None, looks)), ", ".join(traits))
    return tuple(filter(None, lines))


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


def _outline(picture: NDArray[np.uint8], mark: Mark) -> None:
    """The box and the points, each in its colour over a wider dark one."""
    stroke = max(1, round(min(*picture.shape[:2], 6 * mark.box.width) / 240))
    left, top = mark.box.left, mark.box.top
    right, bottom = left + mark.box.width, top + mark.box.height
    box = _fixed(np.array([[left, top], [right, top], [right, bottom], [left, bottom]]))
    radius = max(0.5, mark.box.width / 80)
    for rim, colour in ((1, _RIM), (0, mark.colour)):
        cv2.polylines(picture, [box], True, colour, stroke + 2 * rim, cv2.LINE_AA, _SUBPIXEL)
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
