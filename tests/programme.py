"""A television programme made for tests: colour bars, a slate, credits and what lies between, drawn with Pillow."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 640, 360
RATE = 10

Picture = NDArray[np.uint8]

_SEVEN = ((1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1))
SLATE = ("PRODUCTION  NORTHERN LIGHTS", "EPISODE  104", "DIRECTOR  M. OKAFOR", "DATE  12 MARCH 2024", "TRT  00:42:10")
CAST = (
    "CAST",
    "Anna Marlowe",
    "Peter Falken",
    "Ruth Okonkwo",
    "",
    "DIRECTED BY",
    "Jonas Brandt",
    "",
    "MUSIC",
    "Clara Weiss",
    "Tom Ibsen",
    "",
    "EDITOR",
    "Maria Solano",
    "",
    "COSTUMES",
    "Ines Duarte",
    "",
    "SOUND",
    "Paul Grey",
    "Lena Holt",
)


def black(seconds: float, level: int = 0) -> Iterator[Picture]:
    return (np.full((HEIGHT, WIDTH, 3), level, np.uint8) for _ in range(round(seconds * RATE)))


def bars(kind: str) -> Picture:
    """Colour bars at 75 %: `SMPTE` (EG 1), `EBU` (with black at the right) or `HD` (RP 219, grey at the sides)."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    colours = [tuple(191 * bit for bit in bits) for bits in _SEVEN]
    if kind == "EBU":
        colours.append((0, 0, 0))
    if kind == "HD":
        grey = (104, 104, 104)
        edges = [0, *np.linspace(WIDTH / 8, WIDTH * 7 / 8, 8).round().astype(int).tolist(), WIDTH]
        colours = [grey, *colours, grey]
    else:
        edges = np.linspace(0, WIDTH, len(colours) + 1).round().astype(int).tolist()
    for left, right, colour in zip(edges, edges[1:], colours, strict=False):
        picture[:, left:right] = colour
    if kind == "SMPTE":
        upper, lower = HEIGHT * 2 // 3, HEIGHT * 3 // 4
        for left, right, colour in zip(edges, edges[1:], reversed(colours), strict=False):
            picture[upper:lower, left:right] = colour
        picture[lower:] = 16
        picture[lower:, WIDTH // 6 : WIDTH // 3] = 255
    return picture


def card(lines: Sequence[str], background: Picture | None = None, top: int = 40, size: int = 24) -> Picture:
    """Lines of white text in the middle, on black or on a picture."""
    image = Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8) if background is None else background)
    font, draw = ImageFont.load_default(size), ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((WIDTH / 2, top + number * size * 1.6), line, (255, 255, 255), font, "ma")
    return np.asarray(image)


def still(picture: Picture, seconds: float) -> Iterator[Picture]:
    return (picture for _ in range(round(seconds * RATE)))


def rolling(lines: Sequence[str], seconds: float, size: int = 24) -> Iterator[Picture]:
    """Credits that roll from below until the last line is gone."""
    frames = round(seconds * RATE)
    way = HEIGHT + len(lines) * size * 1.6
    return (card(lines, top=round(HEIGHT - way * frame / frames), size=size) for frame in range(frames))


def panned(photo: Picture, seconds: float) -> Iterator[Picture]:
    """The camera moves over a photo from the left to the right."""
    scale = max(1.3 * WIDTH / photo.shape[1], HEIGHT / photo.shape[0])
    large = np.asarray(cv2.resize(photo, None, fx=scale, fy=scale), np.uint8)
    frames = round(seconds * RATE)
    for frame in range(frames):
        left = (large.shape[1] - WIDTH) * frame // frames
        top = (large.shape[0] - HEIGHT) // 2
        yield large[top : top + HEIGHT, left : left + WIDTH]
