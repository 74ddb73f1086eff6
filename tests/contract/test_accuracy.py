"""Accuracy through the public API, on public data; `python -m benchmarks.accuracy` measures all of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import accuracy


def test_lfw_pairs_are_told_apart(rekognition: Any, evaluation_data: Path) -> None:
    pictures, same = accuracy.pairs(evaluation_data, every=3)
    scores = np.array(accuracy.in_parallel(lambda pair: accuracy.similarity(rekognition, *pair), pictures))
    assert accuracy.best_accuracy(scores, same)[0] >= 0.992
    assert (scores[~same] >= 80).sum() == 0  # one in ten thousand in the worst-off group


@pytest.mark.parametrize(("pattern", "least"), [("lfw/*/*.jpg", 1.0), ("fairface/*.jpg", 0.99)])
def test_faces_are_found(rekognition: Any, evaluation_data: Path, pattern: str, least: float) -> None:
    files = sorted(evaluation_data.glob(pattern))[::8]
    counts = np.array(accuracy.in_parallel(lambda file: accuracy.faces(rekognition, file), files))
    assert (counts > 0).mean() >= least


@pytest.mark.parametrize("number", [5, 2, 3, 4, 6, 8, 0])
def test_people_in_groups_are_counted(rekognition: Any, evaluation_data: Path, number: int) -> None:
    for file in sorted((evaluation_data / "samples" / "groups").glob(f"*_{number}.jpg")):
        assert accuracy.faces(rekognition, file) == number, file.name
