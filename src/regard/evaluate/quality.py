"""Whose pictures a collection refuses: the share that each QualityFilter accepts, and per group.

A bar of brightness or pose that one group's pictures fail more often keeps that group out of a collection,
which no error rate of comparison would show.
"""

from pathlib import Path

import numpy as np

from regard.evaluate import fairface, groups
from regard.evaluate.detection import PORTRAITS
from regard.evaluate.groups import Kind, Rows, cell, percent
from regard.evaluate.portraits import Portrait, look
from regard.evaluate.result import Evaluation, Progress, Result, Table
from regard.evaluate.statistics import Bools
from regard.vision.engines import Engines
from regard.vision.quality import BARS, rejections


def accepted(portraits: list[Portrait], level: str) -> Bools:
    """Whether the main face of each picture passes a QualityFilter; no face does not."""
    return np.array([seen.main is not None and not rejections(seen.main, seen.size, level) for seen in portraits], bool)


def measure(engines: Engines, data: Path, progress: Progress) -> Result:
    """Acceptance at each level, and what AUTO refuses per group."""
    seen = {name: look(engines, sorted(data.glob(pattern)), progress, title) for name, title, pattern in PORTRAITS}
    figures = [
        percent(f"{name}-auto", f"{title}: accepted by QualityFilter AUTO", accepted(seen[name], "AUTO"))
        for name, title, _ in PORTRAITS
    ]
    lines: Rows = tuple(
        (title, len(seen[name]), *(cell(percent("", "", accepted(seen[name], level))) for level in BARS))
        for name, title, _ in PORTRAITS
    )
    table = Table("Accepted by QualityFilter, %", ("Portraits", "Pictures", *BARS), lines)
    pictures = fairface.labelled(data)
    refused = ~accepted(look(engines, [picture.path for picture in pictures], progress, "FairFace"), "AUTO")
    kind = Kind("refused", "Refused by QualityFilter AUTO")
    more, tables, plots = groups.by_group(kind, fairface.groupings(pictures), refused)
    told = f"{sum(map(len, seen.values())):,} portraits of LFW, FairFace and CFP."
    notes = ("FairFace's pictures are of all qualities; refusing some is right.", groups.CHANCE)
    return Result(told, (*figures, *more), (table, *tables), tuple(plots), notes)


QUALITY = Evaluation(
    "face-quality",
    "Pictures that a collection accepts",
    ("yunet", "face_mesh"),
    ("lfw", *fairface.NEEDS, "cfp"),
    measure,
)
EVALUATIONS = (QUALITY,)
