"""The evaluation of labels counts right, on photos that may be shown anywhere."""

import json
from pathlib import Path

import pytest
from PIL import Image

from regard.evaluate.labels import EVALUATIONS, direct_parents
from regard.settings import Settings
from regard.vision.engines import Engines


def test_direct_parents_are_those_nearest_above() -> None:
    assert direct_parents("Golden Retriever") == {"Retriever"}
    assert direct_parents("Dog") == {"Canine", "Pet"}
    assert direct_parents("Smile") == {"Happy"}
    assert direct_parents("Person") == frozenset()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, photos: dict[str, Path]) -> Path:
    """A cat by its breed, a cat that is said to be a tench, and two scenes with a cup and a car that is not there."""
    folder = tmp_path_factory.mktemp("data")
    for name, photo in (("n02124075_Egyptian_cat", "cat"), ("n01440764_tench", "cat")):
        (folder / "imagenet").mkdir(exist_ok=True)
        Image.open(photos[photo]).save(folder / "imagenet" / f"{name}.jpg", quality=95)
    (folder / "coco").mkdir()
    for number in (1, 2):
        Image.open(photos["coffee"]).save(folder / "coco" / f"{number}.jpg", quality=95)
    content = {
        "images": [{"id": number, "file_name": f"{number}.jpg"} for number in (1, 2)],
        "categories": [{"id": 47, "name": "cup"}, {"id": 3, "name": "car"}],
        "annotations": [
            {"image_id": number, "category_id": category, "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0}
            for number in (1, 2)
            for category in (47, 3)
        ],
    }
    (folder / "coco" / "instances.json").write_text(json.dumps(content), "utf-8")
    return folder


def test_what_is_named_right_is_counted(data: Path) -> None:
    (evaluation,) = EVALUATIONS
    assert evaluation.possible(data)
    result = evaluation.run(Engines(Settings()), data, lambda items, _: items)
    values = {figure.name: figure.value for figure in result.figures}
    assert values["named_or_parent"] == 50
    assert values["recall"] == 50
    assert all(figure.low <= figure.value <= figure.high for figure in result.figures)
