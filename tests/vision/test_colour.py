"""Dominant colours and quality: exact on pictures whose colours are known, and unmoved by odd shapes."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageColor

from regard.vision.colour import TABLE, colours_in, properties
from regard.vision.geometry import Box


def flat(colour: str, height: int = 120, width: int = 200) -> np.ndarray:
    return np.full((height, width, 3), ImageColor.getrgb(colour), np.uint8)


def table() -> list[list[str]]:
    return [line.split(",") for line in TABLE.read_text("utf-8").splitlines()[1:]]


def test_the_table_has_every_css_colour_once() -> None:
    standard = {name: bytes(ImageColor.getrgb(name)[:3]).hex() for name in ImageColor.colormap}
    assert sorted(value for _, value, _ in table()) == sorted({f"#{value}" for value in standard.values()})
    assert all(value == f"#{standard[name]}" for name, value, _ in table())
    assert len({simplified for _, _, simplified in table()}) == 12


def test_a_flat_picture_is_wholly_its_colour() -> None:
    (colour,) = properties(flat("red")).whole.colours
    assert (colour.red, colour.green, colour.blue, colour.hex) == (255, 0, 0, "#ff0000")
    assert (colour.css_name, colour.simplified, colour.percent) == ("red", "red", 100.0)


def test_every_css_colour_is_known_by_its_name() -> None:
    for name, value, simplified in table():
        (colour,) = properties(flat(value, 8, 8)).whole.colours
        assert (colour.css_name, colour.hex, colour.simplified) == (name, value, simplified)


def test_percents_are_shares_of_pixels_most_frequent_first() -> None:
    image = np.concatenate([flat("navy", 500, 750), flat("gold", 500, 250)], axis=1)
    first, second = properties(image).whole.colours
    assert (first.css_name, second.css_name) == ("navy", "gold")
    assert first.percent == pytest.approx(75, abs=1)
    assert first.percent + second.percent == pytest.approx(100)


@pytest.mark.parametrize("period", [1, 2, 3, 4])
def test_fine_stripes_do_not_hide_a_colour(period: int) -> None:
    stripes = np.where(
        (np.arange(1200) // period % 2)[None, :, None], flat("white", 700, 1200), flat("black", 700, 1200)
    )
    assert {c.css_name for c in properties(stripes).whole.colours} == {"black", "white"}


def test_at_most_as_many_colours_as_asked_for() -> None:
    names = ["red", "lime", "blue", "gold", "black", "white", "teal", "indigo", "pink", "tan", "coral", "navy", "snow"]
    image = np.concatenate([flat(name, 100, 40) for name in names], axis=1)
    assert len(properties(image).whole.colours) == 10
    assert len(properties(image, limit=20).whole.colours) == len(names)
    assert len(properties(image, limit=3).whole.colours) == 3
    assert properties(image, limit=0).whole.colours == ()


def test_foreground_is_inside_the_boxes_and_background_outside() -> None:
    image = flat("green", 400, 600)
    image[100:300, 200:400] = (255, 255, 255)
    boxes = [Box(200, 100, 200, 200), Box(0, 0, 50, 400)]
    found = properties(image, boxes)
    assert found.foreground is not None
    assert found.background is not None
    assert [c.css_name for c in found.background.colours] == ["green"]
    assert {c.css_name: round(c.percent) for c in found.foreground.colours} == {"white": 67, "green": 33}
    assert [[c.css_name for c in colours_in(image, box)] for box in boxes] == [["white"], ["green"]]
    assert found.foreground.quality.brightness > found.background.quality.brightness


def test_without_boxes_there_is_no_foreground_and_without_the_rest_no_background() -> None:
    image = flat("teal")
    nothing = properties(image)
    assert nothing.foreground is None
    assert nothing.background == nothing.whole
    everything = properties(image, [Box(-5, -5, 300, 300)])
    assert everything.background is None
    assert everything.foreground == everything.whole


def test_brightness_and_contrast_of_known_pictures() -> None:
    black, white, grey = (properties(flat(name)).whole.quality for name in ("black", "white", "gray"))
    assert (black.brightness, black.contrast) == pytest.approx((0, 0), abs=0.1)
    assert (white.brightness, white.contrast) == pytest.approx((100, 0), abs=0.1)
    assert grey.brightness == pytest.approx(53.6, abs=0.1)  # L* of #808080
    halves = np.concatenate([flat("black"), flat("white")], axis=1)
    quality = properties(halves).whole.quality
    assert (quality.brightness, quality.contrast) == pytest.approx((50, 100), abs=1)


def test_blurring_lowers_sharpness(photos: dict[str, Path]) -> None:
    sharp = np.array(Image.open(photos["astronaut"]).convert("RGB"))
    blurred = np.asarray(cv2.GaussianBlur(sharp, (0, 0), 4), np.uint8)
    before, after = properties(sharp).whole.quality, properties(blurred).whole.quality
    assert before.sharpness > after.sharpness + 30
    assert before.brightness == pytest.approx(after.brightness, abs=1)


def test_a_part_is_judged_by_its_own_sharpness(photos: dict[str, Path]) -> None:
    image = np.array(Image.open(photos["astronaut"]).convert("RGB"))
    image[:, 256:] = cv2.GaussianBlur(image[:, 256:], (0, 0), 6)
    found = properties(image, [Box(0, 0, 256, 512)])
    assert found.foreground is not None
    assert found.background is not None
    assert found.foreground.quality.sharpness > found.background.quality.sharpness + 30


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 700), (3000, 1), (80, 80), (161, 4001)])
def test_any_size_and_boxes_beyond_the_picture(height: int, width: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    boxes = [Box(-10, -10, 5, 5), Box(width + 3, height + 3, 9, 9), Box(0.2, 0.2, 0, 0), Box(0, 0, width, height)]
    assert properties(image, boxes).foreground is not None
    assert all(colours_in(image, box) for box in boxes[:3])
