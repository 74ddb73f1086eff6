"""Make one list of what several detectors, or one in several views, have found.

Boxes of one class that one detector puts on the same thing are thinned by non-maximum suppression. What several
detectors found is merged by weighted boxes fusion (Solovyev, Wang and Gabruseva, "Weighted boxes fusion:
Ensembling boxes from different object detection models", Image and Vision Computing 2021): boxes are averaged, not
chosen, and what only one of them sees counts for less.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Found:
    """n boxes: `boxes` float64 [n, 4] as left, top, right, bottom, `scores` float64 [n], `classes` int64 [n]."""

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    classes: NDArray[np.int64]

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """All boxes of one or more parts."""
        return cls(
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.classes for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: NDArray[np.integer | np.bool_]) -> "Found":
        """Some of the boxes, in the order of an index or by a mask [n]."""
        return Found(self.boxes[index], self.scores[index], self.classes[index])

    def best(self, limit: int) -> "Found":
        """At most `limit` of them, the highest score first; equal ones stay in order."""
        return self[np.argsort(-self.scores, kind="stable")[:limit]]


def overlap(box: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union [n] of a box [4] with boxes [n, 4]; 0 where both are empty."""
    left, top, right, bottom = box.tolist()
    lefts, tops, rights, bottoms = boxes.T
    width = np.minimum(right, rights) - np.maximum(left, lefts)
    height = np.minimum(bottom, bottoms) - np.maximum(top, tops)
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    areas = (right - left) * (bottom - top) + (rights - lefts) * (bottoms - tops)
    # No union is as small as the least number, unless it is 0, and then nothing is shared either.
    return np.asarray(shared / np.maximum(areas - shared, np.finfo(np.float64).tiny), np.float64)


def suppress(found: Found, most_overlap: float, limit: int) -> Found:
    """Of boxes of one class that overlap by more than `most_overlap` the best stays; best first, at most `limit`."""
    found = found.best(len(found))
    members = {number: np.flatnonzero(found.classes == number) for number in np.unique(found.classes).tolist()}
    free, kept = np.ones(len(found), bool), list[int]()
    for i, number in enumerate(found.classes.tolist()):
        if free[i] and len(kept) < limit:
            kept.append(i)
            same = members[number]
            free[same[overlap(found.boxes[i], found.boxes[same]) > most_overlap]] = False
    return found[np.array(kept, np.int64)]


def fuse(parts: Sequence[Found], least_overlap: float) -> Found:
    """What several detectors, one part each, have found together; best first.

    A box joins the fused box of its class that it overlaps most, if by more than `least_overlap`. A fused box is the
    mean of its members weighted by their scores; its score is the mean over all detectors of each one's best, 0 for
    those that have none.
    """
    every = Found.join(parts)
    detector = np.repeat(np.arange(len(parts)), [len(part) for part in parts]).tolist()
    weighted, boxes = np.zeros_like(every.boxes), np.empty_like(every.boxes)
    weights, best = np.zeros_like(every.scores), np.zeros((len(every), len(parts)))
    fused: defaultdict[int, list[int]] = defaultdict(list)  # rows of the arrays above, by class
    classes: list[int] = []
    for i in np.argsort(-every.scores, kind="stable").tolist():
        number, score = int(every.classes[i]), float(every.scores[i])
        rivals = fused[number]
        shared = overlap(every.boxes[i], boxes[rivals])
        if shared.size and shared.max() > least_overlap:
            row = rivals[int(shared.argmax())]
        else:
            row = len(classes)
            rivals.append(row)
            classes.append(number)
        weighted[row] += score * every.boxes[i]
        weights[row] += score
        boxes[row] = weighted[row] / weights[row]
        best[row, detector[i]] = max(best[row, detector[i]], score)
    count = len(classes)
    return Found(boxes[:count], best[:count].mean(1), np.array(classes, np.int64)).best(count)
