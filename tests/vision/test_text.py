"""Text that anyone can read must be read, where it stands and at whatever angle it is shown."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from regard.settings import settings
from regard.vision import text
from regard.vision.text import TextReader, line_of, reading_order
from regard.vision.text_detection import degrees, oriented
from regard.vision.text_recognition import Character

SENTENCES = {
    "German": "Zwölf Boxkämpfer jagen Viktor quer über den großen Deich",
    "French": "Voix ambiguë d'un cœur qui préfère les kiwis à Noël où ça",
    "Spanish": "El pingüino hizo kilómetros bajo la lluvia y añoraba al señor",
    "Italian": "Perché la città è più bella così, però costa già 12,50 €",
    "Portuguese": "À noite, vovô vê o ímã cair no pé do pinguim, põe açúcar e não",
}


@pytest.fixture(scope="session")
def reader(cache: Path) -> TextReader:
    """The shipped networks."""
    return TextReader.load(settings().model_copy(update={"cache": cache}))


def font(size: float) -> Any:
    return ImageFont.load_default(size)


def page(*lines: str, size: float = 40, letters: Any = None, width: int = 1280) -> NDArray[np.uint8]:
    """Lines of black letters on white, the first 60 pixels from the top, each three sizes below the one before."""
    image = Image.new("RGB", (width, round(120 + 3 * size * len(lines))), "white")
    pen = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        pen.text((60, 60 + 3 * size * number), line, fill="black", font=letters or font(size))
    return np.array(image)


def turned(image: NDArray[np.uint8], angle: float) -> NDArray[np.uint8]:
    """The whole picture, turned clockwise."""
    return np.array(Image.fromarray(image).rotate(-angle, Image.Resampling.BICUBIC, expand=True, fillcolor="white"))


def texts(lines: Sequence[text.Line]) -> list[str]:
    return [line.text for line in lines]


def test_lines_and_words_are_read_in_order(reader: TextReader) -> None:
    first, second = reader.read(page("Meet me at the harbour", "on Monday, 12 May, 7:30"))
    assert (first.text, second.text) == ("Meet me at the harbour", "on Monday, 12 May, 7:30")
    assert [word.text for word in first.words] == ["Meet", "me", "at", "the", "harbour"]
    assert all(word.confidence > 80 for line in (first, second) for word in line.words)


def test_a_word_s_rectangle_is_around_the_word(reader: TextReader) -> None:
    letters = font(40)
    (line,) = reader.read(page("seven bright words", letters=letters))
    _, top, _, bottom = letters.getbbox(line.text)
    start = 60.0
    for word in line.words:
        left, _, right, _ = letters.getbbox(word.text)
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
        shared = cv2.intersectConvexConvex(word.corners, corners + np.float32([start, 60]))[0]
        union = cv2.contourArea(word.corners) + (right - left) * (bottom - top) - shared
        assert shared / union > 0.5
        assert shared > 0.85 * (right - left) * (bottom - top)
        start += letters.getlength(word.text + " ")


@pytest.mark.parametrize("angle", [-90, -75, -45, -15, 15, 45, 75, 90])
def test_turned_text_is_read_and_its_corners_turn_with_it(reader: TextReader, angle: float) -> None:
    lines = reader.read(turned(page("Meet me at the harbour", "on Monday morning", width=700), angle))
    assert texts(lines) == ["Meet me at the harbour", "on Monday morning"]
    for line in lines:
        assert degrees(line.corners) == pytest.approx(angle, abs=3)
        for word in line.words:
            assert degrees(word.corners) == pytest.approx(angle, abs=3)


@pytest.mark.parametrize("language", SENTENCES)
def test_accents_are_read(reader: TextReader, language: str) -> None:
    try:
        letters = ImageFont.truetype("DejaVuSans.ttf", 32)
    except OSError:
        pytest.skip("no font with accents is here (Debian's fonts-dejavu-core)")
    assert texts(reader.read(page(SENTENCES[language], letters=letters))) == [SENTENCES[language]]


def test_text_far_apart_in_a_row_is_two_lines(reader: TextReader) -> None:
    image = page("left side", width=1200)
    right = page("right side", width=1200)
    image[:, 700:] = right[:, :500]
    assert texts(reader.read(image)) == ["left side", "right side"]


@pytest.mark.parametrize("size", [14, 24, 60, 150, 400])
def test_letters_of_any_size_are_read(reader: TextReader, size: float) -> None:
    assert texts(reader.read(page("EXIT", size=size))) == ["EXIT"]


def test_light_letters_on_dark_are_read(reader: TextReader) -> None:
    assert texts(reader.read(255 - page("night shift"))) == ["night shift"]


def test_a_hundred_words_at_most_are_read_from_the_top(reader: TextReader) -> None:
    lines = [f"row {number} has six words here" for number in range(1, 31)]
    found = reader.read(page(*lines, size=16, width=500))
    words = [word.text for line in found for word in line.words]
    assert len(words) == text.MAX_WORDS
    assert words == " ".join(lines).split()[: text.MAX_WORDS]


def test_what_is_found_can_be_read_later_and_in_part(reader: TextReader) -> None:
    image = page("first line", "second line")
    strips = reader.find(image)
    assert texts(reader.read(image, strips)) == ["first line", "second line"]
    assert texts(reader.read(image, strips[1:])) == ["second line"]
    assert reader.read(image, []) == []


@pytest.mark.parametrize("shape", [(1, 1), (80, 80), (1, 5000), (5000, 1), (80, 4000), (4000, 80), (33, 31)])
@pytest.mark.parametrize("kind", ["white", "noise", "stripes"])
def test_pictures_of_any_shape_without_text_do_no_harm(reader: TextReader, shape: tuple[int, int], kind: str) -> None:
    image = np.full((*shape, 3), 255, np.uint8)
    if kind == "noise":
        image = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    if kind == "stripes":
        image[:, ::7] = 0
    for line in reader.read(image):
        assert np.isfinite(line.corners).all()
        assert all(text.LEAST_CONFIDENCE <= word.confidence <= 100 for word in line.words)


def test_a_portrait_has_no_sure_words(reader: TextReader, obama: NDArray[np.uint8]) -> None:
    assert [word for line in reader.read(obama) for word in line.words if word.confidence > 90] == []


def test_the_answer_does_not_depend_on_who_else_asks(reader: TextReader) -> None:
    image = page("Meet me at the harbour", "on Monday morning", "bring a lamp")
    alone = [[(word.text, word.confidence) for word in line.words] for line in reader.read(image)]
    strips = reader.find(image)
    one_by_one = [[(word.text, word.confidence) for word in reader.words(image, strip)] for strip in strips]
    assert alone == one_by_one


def test_nothing_is_read_beyond_the_end_of_a_strip(reader: TextReader) -> None:
    for words in ("VICTORIA'S", "COCA", "THANK", "HAPPY NEW"):
        strip = page(words, size=34, width=640)[54:102, 60:]
        end = int(np.flatnonzero((strip < 128).any((0, 2))).max()) + 4
        characters = reader.recogniser.read(np.ascontiguousarray(strip[:, :end]))
        assert "".join(character.text for character in characters) == words
        assert all(character.start < end for character in characters)


def test_confidence_rises_with_what_the_networks_say(reader: TextReader) -> None:
    def confidence(probability: float, score: float) -> float:
        return reader.calibration.confidence([Character("a", probability, 0, 8)] * 4, score)

    assert confidence(0.5, 0.9) < confidence(0.9, 0.9) < confidence(0.98, 0.9) < confidence(1.0, 0.9) <= 100
    assert confidence(0.9, 0.5) < confidence(0.9, 0.9) < confidence(0.9, 1.0)


@pytest.mark.parametrize("angle", [-89, -60, -30, 0, 30, 60, 89])
def test_corners_begin_where_reading_begins(angle: float) -> None:
    radians = np.radians(angle)
    along, down = np.array([np.cos(radians), np.sin(radians)]), np.array([-np.sin(radians), np.cos(radians)])
    box = np.array([[0, 0], 90 * along, 90 * along + 20 * down, 20 * down], np.float32)
    for shift in range(4):
        assert oriented(np.roll(box, shift, axis=0)) == pytest.approx(box, abs=0.01)


def test_rows_come_from_the_top_and_each_from_its_start() -> None:
    def box(left: float, top: float) -> NDArray[np.float32]:
        return np.array([[0, 0], [50, 0], [50, 20], [0, 20]], np.float32) + np.float32([left, top])

    boxes = [box(100, 4), box(0, 100), box(0, 0), box(200, 2)]
    assert reading_order(boxes) == [2, 0, 3, 1]
    assert reading_order([]) == []


def test_a_line_is_the_rectangle_around_its_words() -> None:
    words = [
        text.Word("a", np.array([[0, 0], [10, 0], [10, 10], [0, 10]], np.float32), 80),
        text.Word("b", np.array([[20, 2], [40, 2], [40, 12], [20, 12]], np.float32), 60),
    ]
    line = line_of(words)
    assert (line.text, line.confidence) == ("a b", 70)
    assert line.corners.tolist() == [[0, 0], [40, 0], [40, 12], [0, 12]]
