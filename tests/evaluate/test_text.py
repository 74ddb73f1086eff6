"""The protocol of ICDAR 2015, on words whose fate is known."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from regard.evaluate.text import Truth, dictionary_word, match, same_text, truths
from regard.vision.text import Word


def box(left: float, width: float = 40) -> NDArray[np.float32]:
    return np.array([[left, 0], [left + width, 0], [left + width, 20], [left, 20]], np.float32)


def word(text: str, left: float, width: float = 40) -> Word:
    return Word(text, box(left, width), 90)


def test_a_word_is_right_where_it_overlaps_by_half_and_reads_the_same() -> None:
    true = [Truth(box(0), "Sale"), Truth(box(100), "Exit")]
    assert match([word("SALE", 5), word("exit", 100)], true, same_text).right == (True, True)
    assert match([word("Sole", 0), word("Exit", 125)], true, same_text).right == (False, False)


def test_a_true_word_counts_once() -> None:
    found = match([word("Sale", 0), word("Sale", 2)], [Truth(box(0), "Sale")], same_text)
    assert found.right == (True, False)
    assert found.taken == (True,)


def test_what_lies_on_an_unreadable_word_does_not_count() -> None:
    true = [Truth(box(0, 100), None), Truth(box(200), "Exit")]
    assert match([word("blur", 10), word("Exit", 200), word("more", 95)], true, same_text).right == (None, True, False)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Sale!", "Sale"),
        ("(open)", "open"),
        ("Macy's", "Macy"),
        ("café", "café"),
        ("x-ray", "x-ray"),
        ("50%", None),
        ("to", None),
        ("B1,", None),
        ("a.b.c.d", None),
    ],
)
def test_dictionary_words_are_letters_alone(text: str, word: str | None) -> None:
    assert dictionary_word(text) == word


def test_ground_truth_is_read_with_its_commas(tmp_path: Path) -> None:
    file = tmp_path / "gt_img_1.txt"
    file.write_text("\ufeff0,0,9,0,9,5,0,5,B1,\r\n1,1,2,1,2,2,1,2,###\r\n", "utf-8")
    first, second = truths(file)
    assert first.text == "B1,"
    assert first.corners.tolist() == [[0, 0], [9, 0], [9, 5], [0, 5]]
    assert second.text is None
