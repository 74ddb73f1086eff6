"""The face engine and the demo photos, loaded once for all tests of vision."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from regard.settings import settings
from regard.vision.faces import FaceEngine

PEOPLE = ("obama", "obama2", "obama3", "biden", "astronaut", "hopper")


@pytest.fixture(scope="session")
def engine(cache: Path) -> FaceEngine:
    """The shipped networks."""
    return FaceEngine.load(settings().model_copy(update={"cache": cache}))


@pytest.fixture(scope="session")
def pictures(photos: dict[str, Path]) -> dict[str, NDArray[np.uint8]]:
    """Photos with clear rights by name, RGB."""
    return {name: _read(path) for name, path in photos.items()}


@pytest.fixture(scope="session")
def portraits(pictures: dict[str, NDArray[np.uint8]]) -> dict[str, NDArray[np.uint8]]:
    """Those of one person each."""
    return {name: pictures[name] for name in PEOPLE}


@pytest.fixture(scope="session")
def obama(portraits: dict[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """A sharp, well lit, frontal portrait."""
    return portraits["obama"]


def _read(path: Path) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.asarray(cv2.imread(str(path)), np.uint8)[:, :, ::-1])
