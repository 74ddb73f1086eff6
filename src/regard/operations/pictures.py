"""The `Image` of a request: its bytes, its pixels, its faces."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.media import images
from regard.media.storage import ObjectUnavailable
from regard.operations.context import Context
from regard.operations.objects import refusal
from regard.vision.faces import Face
from regard.vision.quality import rejections
from regard.wire.errors import (
    ImageTooLargeException,
    InvalidImageFormatException,
    InvalidParameterException,
    InvalidS3ObjectException,
    ThrottlingException,
)


@dataclass(frozen=True)
class Picture:
    """Upright RGB pixels uint8 [h, w, 3] and the file that they came from."""

    pixels: NDArray[np.uint8]
    file: bytes

    @cached_property
    def digest(self) -> bytes:
        """The SHA-256 of the file."""
        return hashlib.sha256(self.file).digest()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


@dataclass(frozen=True, slots=True)
class Limits:
    """What an operation accepts: bytes in the request (None: as many as the service model allows), and pixels
    of the shorter and of the longer side; and how many of the shorter side are `enough`, see `images.decode`."""

    request_bytes: int | None = None
    minimum: int = images.MIN_SIDE
    maximum: int = images.MAX_SIDE
    enough: int | None = None


GENERAL = Limits()


def load(context: Context, image: dict[str, Any], limits: Limits = GENERAL) -> Picture:
    """The picture that a request's `Image` gives or points to."""
    data = _read(context, image, limits)
    try:
        pixels = images.decode(data, limits.minimum, limits.maximum, limits.enough)
    except images.ImageTooLarge:
        raise ImageTooLargeException from None
    except images.InvalidImageFormat:
        raise InvalidImageFormatException from None
    except images.ImageTooSmall as error:
        raise InvalidParameterException(str(error)) from None
    except images.TooManyImages:
        raise ThrottlingException from None
    return Picture(pixels, data)


def _read(context: Context, image: dict[str, Any], limits: Limits) -> bytes:
    place = image.get("S3Object")
    if (place is None) == (image.get("Bytes") is None):
        raise InvalidParameterException("Request has invalid parameters")
    if place is None:
        if limits.request_bytes is not None and len(image["Bytes"]) > limits.request_bytes:
            raise ImageTooLargeException
        return bytes(image["Bytes"])
    if not place.get("Bucket") or not place.get("Name"):
        raise InvalidS3ObjectException
    try:
        return context.services.objects.read(
            place["Bucket"], place["Name"], place.get("Version"), images.MAX_S3_OBJECT_BYTES
        )
    except ObjectUnavailable as error:
        raise refusal(error) from None
    except images.ImageTooLarge:
        raise ImageTooLargeException from None


def faces_of(
    context: Context, picture: Picture, wanted: frozenset[str] = frozenset(), limit: int | None = None
) -> list[Face]:
    """The faces, largest first, at most 100 and `limit`, with the wanted attributes."""
    return context.services.vision.faces.find(picture.pixels, wanted, limit)


def sort_out(
    picture: Picture, faces: list[Face], quality_filter: str
) -> tuple[list[Face], list[tuple[Face, tuple[str, ...]]]]:
    """The faces that meet the quality bar, and those that do not, each with AWS's reasons."""
    if quality_filter == "NONE":
        return faces, []
    reasons = {id(face): rejections(face, picture.size, quality_filter) for face in faces}
    passed = [face for face in faces if not reasons[id(face)]]
    failed = [(face, reasons[id(face)]) for face in faces if reasons[id(face)]]
    return passed, failed
