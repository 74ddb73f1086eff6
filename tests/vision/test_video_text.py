"""Text in frames is read once as long as it stands, and anew as soon as it changes."""

from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from regard.settings import settings
from regard.vision.text import TextReader, Word
from regard.vision.text_detection import Strip
from regard.vision.video_text import VideoTextReader

Picture = NDArray[np.uint8]


class Counting:
    """A reader that counts the strips that it reads."""

    def __init__(self, reader: TextReader) -> None:
        self._reader = reader
        self.find, self.read = reader.find, reader.read
        self.count = 0

    def words(self, image: Picture, strip: Strip) -> list[Word]:
        self.count += 1
        return self._reader.words(image, strip)


@pytest.fixture(scope="module")
def reader() -> TextReader:
    return TextReader.load(settings())


@pytest.fixture
def counting(reader: TextReader) -> Counting:
    return Counting(reader)


def frame(clock: str = "12:01", box: int = 0, shift: int = 0) -> Picture:
    """A title and a clock, and between them a box that moves."""
    canvas = Image.new("RGB", (640, 360), (30, 60, 90))
    pen = ImageDraw.Draw(canvas)
    pen.text((40 + shift, 40), "Evening News", fill="white", font=ImageFont.load_default(48))
    pen.text((480 + shift, 300), clock, fill="white", font=ImageFont.load_default(28))
    pen.rectangle((box, 130, box + 180, 260), fill="orange")
    return np.array(canvas)


def texts(reader: VideoTextReader | TextReader, image: Picture) -> list[str]:
    return [line.text for line in reader.read(image)]


@pytest.fixture
def watch(counting: Counting) -> Callable[[Picture], list[str]]:
    watching = VideoTextReader(cast(TextReader, counting))
    return lambda image: texts(watching, image)


def test_a_text_that_stands_is_read_once_and_stays_what_reading_it_again_would_give(
    watch: Callable[[Picture], list[str]], counting: Counting, reader: TextReader
) -> None:
    frames = [frame(box=box) for box in (0, 150, 300, 450)]
    seen = [watch(image) for image in frames]
    assert seen == [texts(reader, image) for image in frames]
    assert "Evening News" in seen[0]
    assert counting.count == 2


def test_a_clock_is_read_whenever_it_changes(watch: Callable[[Picture], list[str]], counting: Counting) -> None:
    seen = [watch(frame(clock)) for clock in ("12:01", "12:02", "12:02", "12:03")]
    assert [lines[-1] for lines in seen] == ["12:01", "12:02", "12:02", "12:03"]
    assert counting.count == 2 + 1 + 1


def test_a_text_that_moves_is_where_it_is(watch: Callable[[Picture], list[str]], reader: TextReader) -> None:
    watching = VideoTextReader(reader)
    lefts = [watching.read(frame(shift=shift))[0].corners[:, 0].min() for shift in (0, 60)]
    assert 50 < lefts[1] - lefts[0] < 70


def test_frames_of_other_sizes_are_read_anew(watch: Callable[[Picture], list[str]]) -> None:
    assert "Evening News" in watch(frame())
    assert watch(np.zeros((120, 160, 3), np.uint8)) == []
    assert "Evening News" in watch(frame())
