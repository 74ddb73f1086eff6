"""Text in the frames of a video: found in each that is not the same as the last, read where it is new.

Titles, signs and tickers stand still while the picture around them moves, and to read a page takes five times as
long as to find where it is written. A strip that lies where one lay, and in which nothing has changed since it was
read, keeps its words, with their places and confidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.vision.still import Thumbnail, thumbnail, unchanged
from regard.vision.text import Line, TextReader, Word
from regard.vision.text_detection import Strip, sides

# Frames are compared at so many pixels for one: a stroke of the smallest letters that can be read is not averaged away.
_FINE = 4
# A text that stands still is found a little displaced in every frame, its corners by less than so many heights.
_DISPLACED = 0.25


def fine(luminance: NDArray[np.uint8]) -> Thumbnail:
    """The thumbnail of `luminance`, uint8 [h, w], in which no change of a letter is lost."""
    height, width = luminance.shape
    return thumbnail(luminance, (-(-height // _FINE), -(-width // _FINE)))


@dataclass(frozen=True, slots=True)
class _Piece:
    """A strip, the frame in which it was read, and its words."""

    strip: Strip
    frame: Thumbnail
    words: list[Word]

    def stands(self, strip: Strip, frame: Thumbnail) -> bool:
        """Whether a strip of a later frame is this one, unchanged."""
        away = np.linalg.norm(self.strip.corners - strip.corners, axis=1).max()
        if frame.shape != self.frame.shape or away > _DISPLACED * sides(self.strip.corners)[1]:
            return False
        place = self._place()
        return self.frame[place].size > 0 and unchanged(self.frame[place], frame[place])

    def _place(self) -> tuple[slice, slice]:
        """Where in the frame it is."""
        left, top = np.maximum(np.floor(self.strip.corners.min(0) / _FINE), 0).astype(int).tolist()
        right, bottom = np.ceil(self.strip.corners.max(0) / _FINE).astype(int).tolist()
        return slice(top, max(bottom, 0)), slice(left, max(right, 0))


class VideoTextReader:
    """Reads the frames of one video, RGB uint8 [h, w, 3], in order; for one thread."""

    def __init__(self, reader: TextReader) -> None:
        self._reader = reader
        self._pieces: list[_Piece] = []

    def find(self, image: NDArray[np.uint8]) -> list[Strip]:
        """The pieces of text in a frame, unread, in reading order."""
        return self._reader.find(image)

    def read(self, image: NDArray[np.uint8], strips: Sequence[Strip] | None = None) -> list[Line]:
        """The lines in a frame, see `TextReader.read`."""
        frame = fine(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8))
        before, now = self._pieces, list[_Piece]()

        def words_in(strip: Strip) -> list[Word]:
            same = next((piece for piece in before if piece.stands(strip, frame)), None)
            piece = same or _Piece(strip, frame, self._reader.words(image, strip))
            now.append(piece)
            return piece.words

        lines = self._reader.read(image, strips, words_in)
        self._pieces = now
        return lines
