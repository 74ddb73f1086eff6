"""Pictures that decode, through the networks: what no photo shows, in shapes that no camera makes.

A case is the name of an operation and the bytes of a picture. Whatever the networks make of it, the answer is one that
AWS's description allows, its numbers are finite and in their ranges, and it comes.
"""

import io
import json
import math
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tests.fuzz import requests
from tests.fuzz.engine import Fault
from tests.fuzz.requests import Requests, described

from regard.media.images import decode
from regard.settings import Settings
from regard.vision import models

Picture = NDArray[np.uint8]

OPERATIONS: Mapping[str, Mapping[str, Any]] = {
    "DetectFaces": {"Attributes": ["ALL"]},
    "DetectLabels": {"Features": ["GENERAL_LABELS", "IMAGE_PROPERTIES"], "MinConfidence": 0},
    "DetectModerationLabels": {"MinConfidence": 0},
    "DetectText": {},
    "DetectProtectiveEquipment": {},
    "RecognizeCelebrities": {},
    "CompareFaces": {"SimilarityThreshold": 0},
    "IndexFaces": {"CollectionId": "fuzz", "DetectionAttributes": ["ALL"], "QualityFilter": "NONE"},
    "SearchFacesByImage": {"CollectionId": "fuzz", "FaceMatchThreshold": 0, "QualityFilter": "NONE"},
}
PERCENTAGES = frozenset({"Confidence", "Similarity", "Brightness", "Sharpness", "PixelPercent"})
ANGLES = frozenset({"Roll", "Pitch", "Yaw"})
SHARES = frozenset({"Left", "Top", "Width", "Height", "X", "Y"})
# Of the whole process, with a second for each megapixel: a page full of words is the dearest.
LONGEST_S = 20.0
ACROSS = 10_000  # pixels along a side at most, as AWS has it


@cache
def photos() -> tuple[Picture, ...]:
    """Portraits and a page, small."""
    kept = models.photos(Settings().cache)
    found = (decode(kept[name].read_bytes()) for name in ("obama", "biden", "hopper", "astronaut", "page"))
    return tuple(cv2.resize(photo, None, fx=f, fy=f) for photo in found for f in [480 / max(photo.shape[:2])])


def _size(random: Random) -> tuple[int, int]:
    """Height and width; a fifth of them are strips, a tenth smaller than most operations accept."""
    if (kind := random.random()) < 0.1:
        return random.choice((1, 16, 79)), random.choice((1, 31, 79, 640))
    if kind < 0.3:
        long, short = random.randint(500, ACROSS), random.choice((80, 81, 100))
        return (long, short) if random.random() < 0.5 else (short, long)
    return random.choice((80, 81, 200, 481, 720)), random.choice((80, 81, 199, 640, 1280))


def _flat(random: Random, height: int, width: int) -> Picture:
    return np.full((height, width, 3), [random.choice((0, 1, 127, 254, 255)) for _ in range(3)], np.uint8)


def _noise(random: Random, height: int, width: int) -> Picture:
    return np.random.default_rng(random.getrandbits(32)).integers(0, 256, (height, width, 3), np.uint8)


def _stripes(random: Random, height: int, width: int) -> Picture:
    rows, columns = (np.arange(count) // random.choice((1, 2, 7, 40)) % 2 for count in (height, width))
    marks = random.choice((rows[:, None] ^ columns, rows[:, None] | columns * 0, rows[:, None] * 0 | columns))
    return np.repeat((marks[..., None] * 255).astype(np.uint8), 3, axis=2)


def _slope(random: Random, height: int, width: int) -> Picture:
    across = np.linspace(0, 255, width) * np.ones((height, 1))
    return np.stack([np.roll(across, random.randrange(width), axis=1) for _ in range(3)], axis=2).astype(np.uint8)


def _warped(random: Random, height: int, width: int) -> Picture:
    """A photo turned, sheared, mirrored, and mostly outside of the picture or far too large or small."""
    photo = random.choice(photos())
    angle, scale = random.uniform(0, 2 * math.pi), random.choice((0.05, 0.3, 1.0, 3.0, 20.0))
    matrix = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) * scale
    matrix @= np.array([[1, random.uniform(-1, 1)], [0, random.choice((-1, 1)) * random.uniform(0.2, 3)]])
    middle = np.array([width, height]) * [random.random(), random.random()]
    move = middle - matrix @ (np.array(photo.shape[1::-1]) / 2)
    border = random.choice((cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT, cv2.BORDER_WRAP))
    seen = cv2.warpAffine(photo, np.column_stack([matrix, move]), (width, height), borderMode=border)
    return np.asarray(seen, np.uint8)


def _crowd(random: Random, height: int, width: int) -> Picture:
    """A photo over and over, as small as can be."""
    side = random.choice((24, 40, 80, 160))
    tile = cv2.resize(random.choice(photos()), (side, side))
    tiled = np.tile(tile, (-(-height // side), -(-width // side), 1))
    return np.asarray(tiled[:height, :width], np.uint8)


def _edited(random: Random, height: int, width: int) -> Picture:
    """A photo with other colours than light has."""
    photo = cv2.resize(random.choice(photos()), (width, height)).astype(np.float32)
    changed = random.choice(
        (
            255 - photo,
            (photo > 127) * 255.0,
            photo[..., ::-1],
            photo * 0.02,
            255 - (255 - photo) * 0.02,
            photo * 8 % 256,
        )
    )
    return np.asarray(changed, np.uint8)


MADE: tuple[Callable[[Random, int, int], Picture], ...] = (
    *(_flat, _noise, _stripes, _slope),
    *(_warped, _crowd, _edited) * 2,
)


class Pictures:
    """Operations that look at a picture, with the real networks."""

    def __init__(self, requests_: Requests) -> None:
        self._requests = requests_
        requests_.restore()
        face = io.BytesIO()
        Image.fromarray(photos()[0]).save(face, "PNG")
        self._face = b64encode(face.getvalue()).decode()

    def generate(self, random: Random) -> bytes:
        operation = random.choice(sorted(OPERATIONS))
        picture = random.choice(MADE)(random, *_size(random))
        file = io.BytesIO()
        if random.random() < 0.5:
            Image.fromarray(picture).save(file, "PNG", compress_level=1)
        else:
            Image.fromarray(picture).save(file, "JPEG", quality=random.choice((1, 50, 100)))
        return operation.encode() + b"\n" + file.getvalue()

    def check(self, case: bytes) -> str:
        name, _, data = case.partition(b"\n")
        operation, picture = name.decode(), {"Bytes": b64encode(data).decode()}
        parameters = dict(OPERATIONS[operation])
        if operation == "CompareFaces":
            parameters |= {"SourceImage": {"Bytes": self._face}, "TargetImage": picture}
        else:
            parameters["Image"] = picture
        body = json.dumps(parameters).encode()
        took, response, failure = self._requests.timed(operation, body, time.process_time)
        said = described(operation, response, failure)
        _check_numbers(said, "")
        if took > LONGEST_S and self._requests.timed(operation, body, time.process_time)[0] > LONGEST_S:
            raise Fault(f"{took:.1f} s of processor time")
        return str(said.get("__type", operation))


def _check_numbers(value: Any, name: str) -> None:
    match value:
        case dict():
            for key, inner in value.items():
                _check_numbers(inner, key)
        case list():
            for inner in value:
                _check_numbers(inner, name)
        case float() | int() if not isinstance(value, bool):
            least, most = (
                (0, 100)
                if name in PERCENTAGES
                else (-180, 180)
                if name in ANGLES
                else (-2, 3)  # a face half outside has a box that goes on there
                if name in SHARES
                else (-math.inf, math.inf)
            )
            if not math.isfinite(value) or not least <= value <= most:
                raise Fault(f"{name} is {value}")


@contextmanager
def opened(folder: Path) -> Iterator[Pictures]:
    """The target with a database and networks of its own."""
    with requests.opened(folder) as behind:
        yield Pictures(behind)
