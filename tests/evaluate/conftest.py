"""A tiny data set of people made from the demo's photos, the shipped networks, and no progress bar."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from regard.evaluate.result import ItemT, Progress
from regard.settings import settings
from regard.vision.engines import Engines

PEOPLE = {"obama": ("obama", "obama2"), "biden": ("biden",), "collins": ("astronaut",)}


@pytest.fixture(scope="session")
def engines(cache: Path) -> Engines:
    return Engines(settings().model_copy(update={"cache": cache}))


@pytest.fixture(scope="session")
def progress() -> Progress:
    return _silent


def _silent(items: Sequence[ItemT], title: str) -> Iterable[ItemT]:
    return items


@pytest.fixture(scope="session")
def people_folder(photos: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FOLDER/PERSON/PICTURE: four portraits of three people, and a picture of nobody."""
    folder = tmp_path_factory.mktemp("people")
    for person, names in PEOPLE.items():
        (folder / person).mkdir()
        for name in names:
            shutil.copy(photos[name], folder / person / photos[name].name)
    cv2.imwrite(str(folder / "biden" / "nobody.png"), np.full((200, 200, 3), 90, np.uint8))
    (folder / "biden" / "notes.txt").write_text("not a picture")
    return folder
