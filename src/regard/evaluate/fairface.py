"""FairFace's pictures and labels, the only evaluation data here that says which group a face belongs to.

Kärkkäinen and Joo 2021, "FairFace: Face Attribute Dataset for Balanced Race, Gender, and Age", CC BY 4.0.
Every picture shows another person, but for a few that a viewer found to show the same one twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regard.evaluate.groups import Grouping
from regard.evaluate.portraits import Portrait, look, rows
from regard.evaluate.result import Progress
from regard.evaluate.statistics import Bools
from regard.vision.engines import Engines
from regard.vision.models import WEIGHTS

NEEDS = ("fairface/labels.csv",)
AGES = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
CHILDREN = AGES[:2]
ADULTS = AGES[3:]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture and what FairFace's annotators saw in it; `age` is one of `AGES`."""

    path: Path
    age: str
    gender: str
    race: str

    @property
    def group(self) -> str:
        return f"{self.race}, {self.gender.lower()}"


def labelled(data: Path) -> list[Labelled]:
    """The pictures of the validation part that are there, by file name."""
    found = [
        Labelled(data / "fairface" / row["file"], row["age"], row["gender"], row["race"])
        for row in rows(data / "fairface" / "labels.csv")
    ]
    return sorted(found, key=lambda picture: picture.path)


def with_faces(
    engines: Engines, pictures: Sequence[Labelled], progress: Progress
) -> tuple[list[Labelled], list[Portrait]]:
    """The pictures in which a face is found, and what is seen in them."""
    seen = look(engines, [picture.path for picture in pictures], progress, "FairFace")
    kept = [number for number, portrait in enumerate(seen) if portrait.main is not None]
    return [pictures[number] for number in kept], [seen[number] for number in kept]


def groupings(pictures: Sequence[Labelled]) -> list[Grouping]:
    """How the pictures are grouped."""
    ways: list[tuple[str, str, list[str]]] = [
        ("race-gender", "race and gender", [picture.group for picture in pictures]),
        ("race", "race", [picture.race for picture in pictures]),
        ("age", "age", [picture.age for picture in pictures]),
    ]
    return [(name, title, labels, sorted(set(labels), key=_rank)) for name, title, labels in ways]


def _rank(group: str) -> tuple[int, str]:
    """Ages rise, the rest is in the order of the alphabet."""
    return (AGES.index(group) if group in AGES else 0, group)


def strangers(pictures: Sequence[Labelled]) -> Bools:
    """Whether two pictures are of different people, [n, n]: all pairs but those known to show one person."""
    apart = ~np.eye(len(pictures), dtype=bool)
    place = {picture.path.name: number for number, picture in enumerate(pictures)}
    for row in rows(WEIGHTS / "sface" / "same_person.csv"):
        if row["a"] in place and row["b"] in place:
            a, b = place[row["a"]], place[row["b"]]
            apart[a, b] = apart[b, a] = False
    return apart
