"""What the evaluation of moderation counts."""

from pathlib import Path

import pytest

from regard.evaluate.moderation import Seen, alone, by_folder, false_alarms, found, highest, mistakes, shown
from regard.vision.moderation import TAXONOMY

WEAPON = frozenset({"Violence", "Weapons"})


def seen(name: str, weapons: float, shows: frozenset[str] = frozenset(), folder: str = "coco", porn: float = 0) -> Seen:
    neutral = {"Drawing": 0.0, "Hentai": 0.0, "Neutral": 1 - porn, "Porn": porn, "Sexy": 0.0}
    return Seen(folder, name, shows, {"Weapons": weapons} if weapons else {}, neutral)


PHOTOS = [
    seen("right.jpg", 90, WEAPON, "imagenet"),
    seen("missed.jpg", 49, WEAPON, "imagenet"),
    seen("wrong.jpg", 50, porn=0.6),
    seen("clean.jpg", 0),
    seen("nearly.jpg", 40, folder="smoking"),
]


def test_a_photo_shows_what_its_class_says() -> None:
    assert shown(Path("imagenet/n04086273_revolver.jpg")) == WEAPON
    assert shown(Path("coco/000000346638.jpg")) == {"Alcohol", "Alcoholic Beverages"}
    assert shown(Path("imagenet/n01440764_tench.jpg")) == shown(Path("coco/000000000802.jpg")) == frozenset()


def test_false_alarms_are_counted_among_photos_without_the_thing() -> None:
    figure = false_alarms("Weapons", PHOTOS)
    assert (figure.value, figure.count, figure.better) == (pytest.approx(100 / 3), 3, "lower")
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low < 100 / 3 < figure.high
    assert highest("Weapons", PHOTOS).value == 50
    assert mistakes(["Weapons"], PHOTOS) == ["Weapons at 50 on coco/wrong.jpg."]


def test_what_is_found_is_counted_among_photos_with_it() -> None:
    figure = found(TAXONOMY["Weapons"], PHOTOS)
    assert (figure.name, figure.value, figure.count) == ("weapons_found", 50, 2)
    assert found(TAXONOMY["Explicit"], PHOTOS).value is None
    assert alone("alone", "title", ("Hentai", "Porn"), PHOTOS).value == 20


def test_a_folder_without_such_photos_has_no_share() -> None:
    ((_, coco, imagenet, *_),) = by_folder(["Weapons"], PHOTOS).rows
    assert getattr(coco, "value", None) == 50
    assert getattr(imagenet, "value", 0) is None
