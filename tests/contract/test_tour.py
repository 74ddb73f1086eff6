"""The tour, which is what a newcomer sees first, works against a real server and leaves nothing on it."""

import io
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from PIL import Image
from rich.console import Console

from regard.tour import OTHERS, PAGE, PERSON, PROBE, STRANGER, THINGS, tour


def test_the_tour_tells_and_draws_what_it_found(rekognition: Any, photos: dict[str, Path], tmp_path: Path) -> None:
    told = io.StringIO()
    tour(rekognition, photos, tmp_path, Console(file=told, width=100))
    drawn = {file.stem for file in tmp_path.glob("*.png")}
    assert drawn == {
        f"faces-{STRANGER}",
        f"faces-{PERSON[0]}",
        f"compare-{PERSON[0]}-{PROBE}",
        f"compare-{PERSON[0]}-{OTHERS[0]}",
        f"search-{PROBE}",
        f"search-{STRANGER}",
        f"labels-{THINGS}",
        f"labels-{STRANGER}",
        f"text-{PAGE}",
        f"equipment-{STRANGER}",
    }
    with Image.open(tmp_path / f"search-{PROBE}.png") as after, Image.open(photos[PROBE]) as before:
        assert after.size == before.size
    account = told.getvalue()
    for sight in ("AgeRange", ": match", ": no match", "nobody in the collection matches", "the-44th: sim"):
        assert sight in account
    for sight in ("nobody on the list", "Cup", "Region-based", "no moderation label", "WithoutRequiredEquipment: [0]"):
        assert sight in account
    assert not _left_behind(rekognition)


def test_a_tour_that_fails_leaves_nothing_behind(rekognition: Any, photos: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    told = io.StringIO()
    with pytest.raises(ClientError, match="InvalidImageFormatException"):
        tour(rekognition, photos | {OTHERS[1]: broken}, tmp_path, Console(file=told))
    assert "index_faces" in told.getvalue()
    assert not _left_behind(rekognition)


def _left_behind(rekognition: Any) -> list[str]:
    names = rekognition.list_collections()["CollectionIds"]
    return [name for name in names if name.startswith("regard-tour-")]
