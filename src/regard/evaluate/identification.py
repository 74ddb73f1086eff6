"""Searching a collection: how often a stranger is taken for somebody in it, and how often a member is missed.

Open set, as ISO/IEC 19795-1 has it: everybody in Labeled Faces in the Wild is enrolled with their first
picture. The others of those who have several are probes that have a mate; those with a single picture are
probes that have none, as their own is left out when they are searched. FairFace's faces fill the gallery.
FPIR is the share of probes without a mate that get any match, FNIR that of the others that do not get their
mate.

The rate of one comparison says little here: with N faces enrolled, FPIR is about 1 − (1 − FMR)^N.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from regard.evaluate import fairface, groups, statistics
from regard.evaluate.groups import cell, percent
from regard.evaluate.portraits import look, similarities
from regard.evaluate.result import Cell, Evaluation, Figure, Plot, Progress, Result, Series, Table
from regard.evaluate.statistics import Bools, Floats
from regard.evaluate.verification import LEVELS as KNOTS
from regard.evaluate.verification import NETWORKS, by_person
from regard.vision.engines import Engines

LEVELS = KNOTS[1:]  # a search at Similarity 50 would find strangers in any collection
TARGET = 0.01
CURVE = 100


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """Scores of probes with a gallery, the people with several pictures first.

    `mated` [m, N] of which probe i has the mate `mates[i]` (a place in the gallery); `others` [k, N].
    """

    mated: Floats
    mates: NDArray[np.intp]
    others: Floats

    def of(self, size: int) -> "Search":
        """The same with the gallery's first `size`."""
        return Search(self.mated[:, :size], self.mates, self.others[:, :size])

    @property
    def own(self) -> Floats:
        """Each mated probe's score with its mate."""
        return self.mated[np.arange(len(self.mates)), self.mates]

    def first(self) -> Bools:
        """Whether the mate is above everybody else; a tie is none."""
        rivals = self.mated.copy()
        rivals[np.arange(len(self.mates)), self.mates] = -np.inf
        return np.asarray(self.own > rivals.max(1), bool)

    def threshold(self, fpir: float) -> float:
        """The lowest score that at most a share `fpir` of the probes without a mate reach."""
        best = np.sort(self.others.max(1))[::-1]
        allowed = int(fpir * len(best) * (1 + 1e-12))
        return float(np.nextafter(best[allowed], np.inf))


def expected_fpir(fmr: float, size: int) -> float:
    """FPIR of a gallery of `size` if its comparisons erred independently."""
    return 1 - (1 - fmr) ** size


def measure(engines: Engines, data: Path, progress: Progress) -> Result:
    """FPIR, FNIR and rank 1 at several gallery sizes."""
    people = by_person(data / "lfw")
    pictures = [path for paths in people.values() for path in paths]
    seen = dict(zip(pictures, look(engines, pictures, progress, "LFW"), strict=True))
    known = [[seen[path] for path in paths if seen[path].main is not None] for paths in people.values()]
    members = [faces for faces in known if len(faces) > 1]
    singles = [faces[0] for faces in known if len(faces) == 1]
    fill = [picture.path for picture in fairface.labelled(data)]
    filling = [face for face in look(engines, fill, progress, "FairFace") if face.main is not None]
    mates = np.repeat(np.arange(len(members)), [len(faces) - 1 for faces in members])
    probes = [face for faces in members for face in faces[1:]]
    gallery = [faces[0] for faces in members] + singles + filling
    faces = engines.faces
    others = similarities(faces, singles, gallery)
    others[np.arange(len(singles)), len(members) + np.arange(len(singles))] = -np.inf
    search = Search(similarities(faces, probes, gallery), mates, others)
    galleries = {"members": len(members), "everybody": len(members) + len(singles), "filled": len(gallery)}
    lost = len(pictures) - sum(map(len, known))
    told = (
        f"LFW and FairFace: galleries of {len(members):,} people with several pictures, of all "
        f"{galleries['everybody']:,} and of {len(gallery):,} with FairFace's faces; {len(probes):,} probes with a "
        f"mate and {len(singles):,} without. {lost} pictures of LFW show no face and are left out."
    )
    figures = {
        figure.name: figure
        for name, size in galleries.items()
        for figure in _figures(search.of(size), f"-{name}", f"among {size:,}")
    }
    return Result(
        told, tuple(figures.values()), (_table(search, galleries, figures),), (_curves(search, galleries),), NOTES
    )


NOTES = (
    "FNIR counts a mate as missed when it scores below the threshold, whatever its rank; SearchFaces answers all "
    "matches.",
    "FPIR grows with the gallery: a threshold for a large collection must be higher than one for a pair.",
    "FairFace's faces are other pictures than LFW's and draw fewer false matches than as many of LFW would.",
    "The expected FPIR takes comparisons as independent, at the false match rate measured on the same comparisons.",
)


def _figures(search: Search, suffix: str, among: str) -> list[Figure]:
    """The figures of one gallery: `suffix` of their names, and the gallery in words."""
    figures = [_missed(f"rank-1{suffix}", f"The mate comes first {among}", search, search.first(), "higher")]
    for level, _ in LEVELS:
        title = f"Strangers with a match at Similarity {level:.0f} {among} (FPIR)"
        figures.append(percent(f"fpir-at-{level:.0f}{suffix}", title, search.others.max(1) >= level, "lower"))
        title = f"Members missed at Similarity {level:.0f} {among} (FNIR)"
        figures.append(_missed(f"fnir-at-{level:.0f}{suffix}", title, search, search.own < level, "lower"))
    name, title = f"fnir-at-fpir-1{suffix}", f"Members missed at an FPIR of 1 % {among}"
    strangers = len(search.others)
    if statistics.enough(strangers, TARGET):
        figures.append(_missed(name, title, search, search.own < search.threshold(TARGET), "lower"))
    else:
        note = f"{strangers} probes without a mate are too few for an FPIR of 1 %."
        figures.append(Figure(name, title, None, "%", len(search.mates), note=note))
    return figures


def _missed(name: str, title: str, search: Search, hits: Bools, better: Literal["higher", "lower"]) -> Figure:
    """The share of probes with a mate that hit; members are drawn again with all their probes."""

    def hit(drawn: NDArray[np.int64]) -> float:
        weights = drawn[search.mates]
        return float(np.average(hits, weights=weights)) if weights.any() else float("nan")

    members = int(search.mates.max()) + 1
    low, high = groups.proportion(hits.sum(), len(hits), statistics.resampled(hit, members))
    return Figure(name, title, 100 * float(hits.mean()), "%", len(hits), 100 * low, 100 * high, better)


def _table(search: Search, galleries: Mapping[str, int], figures: Mapping[str, Figure]) -> Table:
    lines: list[tuple[str | Cell, ...]] = []
    for name, size in galleries.items():
        others = search.of(size).others
        for level, stands_for in LEVELS:
            measured = statistics.enough(others.size, stands_for)
            fmr = float((others >= level).mean())
            fpir, fnir = (figures[f"{rate}-at-{level:.0f}-{name}"] for rate in ("fpir", "fnir"))
            lines.append(
                (
                    f"{size:,}",
                    f"{level:.0f}",
                    Cell(100 * expected_fpir(stands_for, size)),
                    Cell(fmr if measured else None),
                    Cell(100 * expected_fpir(fmr, size) if measured else None),
                    cell(fpir),
                    cell(fnir),
                )
            )
    columns = (
        "Gallery",
        "Similarity",
        "FPIR by what it stands for, %",
        "FMR of these comparisons",
        "FPIR expected of that, %",
        "FPIR, %",
        "FNIR, %",
    )
    return Table("Open-set search", columns, tuple(lines))


def _curves(search: Search, galleries: Mapping[str, int]) -> Plot:
    """FNIR over FPIR, as far down as the rule of three lets it be read."""
    lowest = min(statistics.EXPECTED_ERRORS / len(search.others), 1.0)
    series = []
    for size in galleries.values():
        part = search.of(size)
        best, own = np.sort(part.others.max(1)), part.own
        thresholds = np.quantile(best, 1 - np.geomspace(lowest, 1, CURVE), method="higher")
        fpir = [float((best >= threshold).mean()) for threshold in thresholds]
        fnir = [float((own < threshold).mean()) for threshold in thresholds]
        points = [(x, y) for x, y in dict(zip(fpir, fnir, strict=True)).items() if y]
        series.append(Series(f"{size:,} enrolled", tuple(x for x, _ in points), tuple(y for _, y in points)))
    title = "Members missed against strangers matched"
    return Plot(title, "line", "FPIR", "FNIR", tuple(series), x_log=True, y_log=True)


IDENTIFICATION = Evaluation(
    "identification",
    "Identification: open-set search in a collection",
    NETWORKS,
    ("lfw/pairs.csv", *fairface.NEEDS),
    measure,
)
EVALUATIONS = (IDENTIFICATION,)
