"""Moderation: the taxonomy is AWS's, what cannot be seen is never given, and nobody is taken for naked."""

import re
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from regard.media.images import decode
from regard.settings import settings
from regard.vision.engines import Engines
from regard.vision.models import WEIGHTS
from regard.vision.moderation import ENOUGH, SEEN, TAXONOMY, UNSEEN, Moderator, agreed, chain, findings
from regard.vision.tags import Tag, TagReading

DOCS = Path(__file__).parents[2] / "docs"
Picture = NDArray[np.uint8]

# The developer guide's table, "Moderating content": top level > second level > third level.
AWS = """
Explicit > Explicit Nudity > Exposed Male Genitalia, Exposed Female Genitalia, Exposed Buttocks or Anus, \
Exposed Female Nipple
Explicit > Explicit Sexual Activity
Explicit > Sex Toys
Non-Explicit Nudity of Intimate parts and Kissing > Non-Explicit Nudity > Bare Back, Exposed Male Nipple, \
Partially Exposed Buttocks, Partially Exposed Female Breast, Implied Nudity
Non-Explicit Nudity of Intimate parts and Kissing > Obstructed Intimate Parts > Obstructed Female Nipple, \
Obstructed Male Genitalia
Non-Explicit Nudity of Intimate parts and Kissing > Kissing on the Lips
Swimwear or Underwear > Female Swimwear or Underwear
Swimwear or Underwear > Male Swimwear or Underwear
Violence > Weapons
Violence > Graphic Violence > Weapon Violence, Physical Violence, Self-Harm, Blood & Gore, Explosions and Blasts
Visually Disturbing > Death and Emaciation > Emaciated Bodies, Corpses
Visually Disturbing > Crashes > Air Crash
Drugs & Tobacco > Products > Pills
Drugs & Tobacco > Drugs & Tobacco Paraphernalia & Use > Smoking
Alcohol > Alcohol Use > Drinking
Alcohol > Alcoholic Beverages
Rude Gestures > Middle Finger
Gambling
Hate Symbols > Nazi Party
Hate Symbols > White Supremacy
Hate Symbols > Extremist
"""


def aws_chains() -> set[tuple[str, ...]]:
    """Every label of the table with those above it, the top one first."""
    chains = set()
    for line in AWS.strip().splitlines():
        levels = [[name.strip() for name in level.split(",")] for level in line.split(" > ")]
        for depth in range(1, len(levels) + 1):
            above = tuple(level[0] for level in levels[: depth - 1])
            chains |= {(*above, name) for name in levels[depth - 1]}
    return chains


@pytest.fixture(scope="module")
def moderator(cache: Path) -> Moderator:
    return Engines(settings().model_copy(update={"cache": cache})).moderation


class FixedTagger:
    """Says the same of every first look, and of every second."""

    def __init__(self, first: dict[int, float], second: dict[int, float]) -> None:
        self._readings = [first, second]

    def read(self, _: Picture) -> TagReading:
        tags = tuple(Tag(str(index), index, score) for index, score in self._readings.pop(0).items())
        return TagReading(tags, np.zeros(1280, np.float32))


def test_the_taxonomy_is_that_of_aws() -> None:
    ours = {tuple(label.name for label in reversed(chain(label))) for label in TAXONOMY.values()}
    assert ours == aws_chains()
    assert len(TAXONOMY) == 52
    assert Counter(label.level for label in TAXONOMY.values()) == {1: 10, 2: 20, 3: 22}
    assert all((label.parent == "") == (label.level == 1) for label in TAXONOMY.values())


def test_a_label_is_seen_or_named_as_unseen() -> None:
    assert SEEN.isdisjoint(UNSEEN)
    assert SEEN | set(UNSEEN) == set(TAXONOMY)
    for label in TAXONOMY.values():
        if label.pornography or label.classes:
            assert {above.name for above in chain(label)} <= SEEN


def test_the_docs_name_what_cannot_be_seen() -> None:
    text = (DOCS / "moderation.md").read_text("utf-8").partition("## What cannot be seen")[2].partition("\n## ")[0]
    listed = [name.strip() for line in re.findall(r"^- (.*)$", text, re.MULTILINE) for name in line.split(";")]
    assert sorted(listed) == sorted(UNSEEN)


def test_the_card_names_what_cannot_be_seen() -> None:
    """Operators read it there, too: cards are served with the networks."""
    text = " ".join((WEIGHTS / "open_nsfw" / "card.md").read_text("utf-8").split())
    listed = text.partition("which no network of Regard sees: ")[2].partition(".")[0]
    assert tuple(listed.split("; ")) == UNSEEN


def test_a_parent_is_as_confident_as_its_most_confident_child() -> None:
    found = findings({"Pills": 30, "Smoking": 60, "Weapons": 40, "Gambling": 0})
    assert [(finding.label.name, finding.confidence) for finding in found] == [
        ("Drugs & Tobacco", 60),
        ("Drugs & Tobacco Paraphernalia & Use", 60),
        ("Smoking", 60),
        ("Violence", 40),
        ("Weapons", 40),
        ("Products", 30),
        ("Pills", 30),
    ]


def test_a_thing_must_be_seen_twice(moderator: Moderator, obama: Picture) -> None:
    rifle, revolver = (TAXONOMY["Weapons"].classes[name] for name in ("rifle", "revolver"))

    def weapons(first: dict[int, float], second: dict[int, float]) -> float:
        twice = Moderator(moderator._open_nsfw, moderator._nsfwjs, FixedTagger(first, second), 2)  # type: ignore[arg-type]
        return {finding.label.name: finding.confidence for finding in twice.moderate(obama)}.get("Weapons", 0.0)

    assert weapons({rifle: 0.2, revolver: 0.1}, {revolver: 0.4, rifle: 0.3, 0: 0.1}) == pytest.approx(70)
    assert weapons({rifle: 0.9}, {0: 0.5, rifle: 0.4}) == 0
    assert weapons({0: 0.5, rifle: 0.4}, {rifle: 0.9}) == 0


def test_both_networks_must_agree() -> None:
    def agree(open_nsfw: float, porn: float, hentai: float = 0.0) -> float:
        rest = 1 - porn - hentai
        return agreed(open_nsfw, {"Drawing": 0, "Hentai": hentai, "Neutral": rest, "Porn": porn, "Sexy": 0})

    assert agree(0.8, 0.5) == pytest.approx(50)
    assert agree(1.0, 0.2, 0.3) == pytest.approx(50)
    assert agree(0.9, 0.9) == pytest.approx(75)
    assert agree(1.0, 0.1) == pytest.approx(10)
    assert agree(0.4, 1.0) == pytest.approx(25)
    assert agree(1.0, 1.0) == pytest.approx(100)


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (3000, 40), (224, 224)])
def test_odd_pictures_are_no_trouble(moderator: Moderator, shape: tuple[int, int]) -> None:
    for level in (0, 128, 255):
        found = moderator.moderate(np.full((*shape, 3), level, np.uint8))
        assert all(0 < finding.confidence <= 100 for finding in found)
        assert {finding.label.name for finding in found} <= SEEN


def test_portraits_get_no_label(moderator: Moderator, portraits: dict[str, Picture]) -> None:
    for name, picture in portraits.items():
        assert [finding for finding in moderator.moderate(picture) if finding.confidence >= 50] == [], name


def test_a_large_photo_is_seen_the_same_when_it_is_decoded_smaller(moderator: Moderator, obama: Picture) -> None:
    large = cv2.resize(obama, None, fx=2400 / obama.shape[1], fy=2400 / obama.shape[1], interpolation=cv2.INTER_CUBIC)
    data = cv2.imencode(".jpg", np.asarray(large, np.uint8)[:, :, ::-1])[1].tobytes()
    whole, smaller = decode(data), decode(data, enough=ENOUGH)
    assert smaller.size * 4 <= whole.size
    assert moderator.open_nsfw(smaller) == pytest.approx(moderator.open_nsfw(whole), abs=0.02)
    assert moderator.nsfwjs(smaller) == pytest.approx(moderator.nsfwjs(whole), abs=0.1)
    found = [{one.label.name: one.confidence for one in moderator.moderate(seen)} for seen in (smaller, whole)]
    assert found[0] == pytest.approx(found[1], abs=0.5)


def test_nobody_is_taken_for_naked(moderator: Moderator, evaluation_data: Path) -> None:
    """Of the photos of objects, streets and people, none gets a label of nudity."""
    paths = [path for folder in ("coco", "samples", "smoking") for path in (evaluation_data / folder).rglob("*.jpg")]
    assert len(paths) > 200
    for path in paths:
        picture = np.ascontiguousarray(np.asarray(cv2.imread(str(path)), np.uint8)[:, :, ::-1])
        found = {finding.label.name for finding in moderator.moderate(picture) if finding.confidence >= 50}
        assert "Explicit" not in found, path.name
