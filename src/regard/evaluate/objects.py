"""How well things are found: COCO's average precision, and whether a score is the probability that it says.

Matching and averaging follow COCO's own evaluation (cocodataset.org, "Detection evaluation") with numpy alone; on
the same instances the figures are those of pycocotools 2.0, to three decimals.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regard.evaluate.result import Cell, Evaluation, Figure, Plot, Progress, Result, Series, Table
from regard.evaluate.statistics import Bools, Floats, interval, places, reliability, resampled
from regard.media import images
from regard.vision.engines import Engines
from regard.vision.fusion import fuse
from regard.vision.objects import COCO_CLASSES, FUSE, Instance, instances

OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
MOST = 100  # instances of one class in one picture that count
AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}


@dataclass(frozen=True, slots=True)
class Truth:
    """Annotated things of one class in one picture: boxes float64 [n, 4] as left, top, width, height, areas in
    pixels [n], and which are a crowd [n], inside which any number of instances is right."""

    boxes: Floats
    areas: Floats
    crowd: Bools


NOTHING = Truth(np.empty((0, 4)), np.empty(0), np.empty(0, bool))


@dataclass(frozen=True, slots=True)
class Photo:
    """An annotated picture: its file and its things by class."""

    path: Path
    things: Mapping[str, Truth]


@dataclass(frozen=True, slots=True)
class Ranking:
    """The instances of one class in many pictures, best first, and whether they are right.

    `scores` [n]; `right` and `ignored` [10, n]: at each of the `OVERLAPS`, whether it is, or does not count;
    `picture` [n]: the number of the picture; `present` [pictures]: how many things are there to be found.
    """

    scores: Floats
    right: Bools
    ignored: Bools
    picture: NDArray[np.int64]
    present: NDArray[np.int64]


def read(folder: Path) -> list[Photo]:
    """The pictures of a folder with COCO's `instances.json`, by id."""
    data = json.loads((folder / "instances.json").read_text("utf-8"))
    names = {category["id"]: category["name"] for category in data["categories"]}
    things: defaultdict[int, defaultdict[str, list[Mapping[str, float]]]] = defaultdict(lambda: defaultdict(list))
    for thing in data["annotations"]:
        things[thing["image_id"]][names[thing["category_id"]]].append(thing)
    return [
        Photo(
            folder / picture["file_name"],
            {
                name: Truth(
                    np.array([thing["bbox"] for thing in some], np.float64),
                    np.array([thing["area"] for thing in some], np.float64),
                    np.array([thing["iscrowd"] for thing in some], bool),
                )
                for name, some in things[picture["id"]].items()
            },
        )
        for picture in sorted(data["images"], key=lambda picture: int(picture["id"]))
    ]


def overlaps(boxes: Floats, truth: Truth) -> Floats:
    """Intersection over union [n, m] of boxes [n, 4] with annotated things; with a crowd, over the box alone."""
    near = np.maximum(boxes[:, None, :2], truth.boxes[None, :, :2])
    far = np.minimum((boxes[:, :2] + boxes[:, 2:])[:, None], (truth.boxes[:, :2] + truth.boxes[:, 2:])[None])
    shared = np.prod(np.clip(far - near, 0, None), axis=2)
    own = np.prod(boxes[:, 2:], axis=1)[:, None]
    union = np.where(truth.crowd, own, own + np.prod(truth.boxes[:, 2:], axis=1) - shared)
    return np.asarray(shared / np.maximum(union, 1e-12), np.float64)


def match(boxes: Floats, truth: Truth, area: tuple[float, float]) -> tuple[Bools, Bools]:
    """Whether instances of one class in one picture are right, and whether they do not count: [10, n] each.

    `boxes` [n, 4] are left, top, width, height, the best instance first. Each takes the thing that it overlaps most
    and that is still free. Things outside `area`, in pixels, and crowds need not be found, and an instance that
    takes one does not count; neither does one outside `area` that takes none.
    """
    optional = truth.crowd | (truth.areas < area[0]) | (truth.areas > area[1])
    shared = overlaps(boxes, truth)
    right, ignored = np.zeros((2, len(OVERLAPS), len(boxes)), bool)
    for row, least in enumerate(OVERLAPS):
        free = np.ones(len(optional), bool)
        for i in range(len(boxes)):
            fits = (shared[i] >= least) & free
            if (fits & ~optional).any():  # a thing that must be found comes before one that need not
                fits &= ~optional
            if fits.any():
                best = int(np.argmax(np.where(fits, shared[i], -1)))
                free[best] = truth.crowd[best]
                right[row, i], ignored[row, i] = not optional[best], optional[best]
    size = np.prod(boxes[:, 2:], axis=1)
    return right, ignored | (~right & ((size < area[0]) | (size > area[1])))


def rank(found: Sequence[Sequence[Instance]], photos: Sequence[Photo], name: str, area: tuple[float, float]) -> Ranking:
    """The instances of class `name` in every picture, matched with its things of some area in pixels."""
    scores, rights, ignored, counts, present = [], [], [], [], []
    for seen, photo in zip(found, photos, strict=True):
        truth = photo.things.get(name, NOTHING)
        best = sorted((one for one in seen if one.class_name == name), key=lambda one: -one.score)[:MOST]
        boxes = [(one.box.left, one.box.top, one.box.width, one.box.height) for one in best]
        is_right, does_not_count = match(np.array(boxes).reshape(-1, 4), truth, area)
        scores.append(np.array([one.score for one in best]))
        rights.append(is_right)
        ignored.append(does_not_count)
        counts.append(len(best))
        present.append(int((~truth.crowd & (truth.areas >= area[0]) & (truth.areas <= area[1])).sum()))
    every = np.concatenate(scores)
    order = np.argsort(-every, kind="stable")
    return Ranking(
        every[order],
        np.concatenate(rights, axis=1)[:, order],
        np.concatenate(ignored, axis=1)[:, order],
        np.repeat(np.arange(len(photos)), counts)[order],
        np.array(present),
    )


def precision(ranking: Ranking, counts: NDArray[np.int64]) -> tuple[Floats, Floats] | None:
    """Average precision and recall of a class at each of the `OVERLAPS`, [10] each; None if nothing was to be found.

    `counts` [pictures] says how often each picture counts.
    """
    present = int(ranking.present @ counts)
    if not present:
        return None
    weights = counts[ranking.picture]
    found = np.cumsum(ranking.right * weights, axis=1)
    recall = found / present
    share = found / np.maximum(np.cumsum(~ranking.ignored * weights, axis=1), 1)
    share = np.maximum.accumulate(share[:, ::-1], axis=1)[:, ::-1]
    share = np.append(share, np.zeros((len(OVERLAPS), 1)), axis=1)  # a recall that is never reached
    average = [row[np.searchsorted(reached, RECALLS)].mean() for row, reached in zip(share, recall, strict=True)]
    return np.array(average), np.append(recall, np.zeros((len(OVERLAPS), 1)), axis=1).max(1)


def averages(rankings: Sequence[Ranking], counts: NDArray[np.int64]) -> tuple[float, float, float]:
    """AP, AP at an overlap of 0.5 and average recall, 0–100, over the classes that are there; without any nan."""
    of_classes = [result for ranking in rankings if (result := precision(ranking, counts))]
    if not of_classes:
        return np.nan, np.nan, np.nan
    average, recall = 100 * np.array(of_classes).mean(0)
    return float(average.mean()), float(average[0]), float(recall.mean())


def outcomes(rankings: Sequence[Ranking], pictures: NDArray[np.integer]) -> tuple[Floats, Bools]:
    """The scores [n] of the instances in some pictures, and whether each is right at an overlap of 0.5.

    A picture that is named twice counts twice.
    """
    times = np.bincount(pictures, minlength=len(rankings[0].present))
    often = [np.where(ranking.ignored[0], 0, times[ranking.picture]) for ranking in rankings]
    return (
        np.concatenate([np.repeat(ranking.scores, n) for ranking, n in zip(rankings, often, strict=True)]),
        np.concatenate([np.repeat(ranking.right[0], n) for ranking, n in zip(rankings, often, strict=True)]),
    )


def run(engines: Engines, data: Path, progress: Progress, *, tiles: bool) -> Result:
    photos = read(data / "coco")
    found = [
        engines.objects.detect(images.decode(photo.path.read_bytes(), minimum=1), tiles=tiles)
        for photo in progress(photos, "things in photos")
    ]
    by_area = {area: [rank(found, photos, name, AREAS[area]) for name in COCO_CLASSES] for area in AREAS}
    every = by_area["all"]
    figures = [
        *_figures({"ap": "AP", "ap50": "AP at an overlap of 0.5", "recall": "Average recall"}, every, len(photos)),
        *(
            _figures({f"ap_{area}": f"AP of {area} things"}, by_area[area], len(photos))[0]
            for area in by_area
            if area != "all"
        ),
    ]
    calibration, plot = _calibration(every, np.arange(1, len(photos), 2))
    things = sum(int(ranking.present.sum()) for ranking in every)
    return Result(
        f"{len(photos)} photos of COCO val2017 with {things} annotated things of 80 classes"
        f"{', looked at in tiles too' if tiles else ''}. Intervals come from drawing photos anew.",
        (*figures, calibration),
        (_per_class(every),),
        (plot,),
        (
            "Small is under 32² pixels, large over 96².",
            "SSDLite was probably trained on most of these photos, see its card: expect less on others.",
            "The scores were calibrated on the other half of the photos.",
        ),
    )


def run_alone(engines: Engines, data: Path, progress: Progress) -> Result:
    """Each detector alone on the whole picture, and both without mirror images, as in video, with raw scores."""
    photos = read(data / "coco")
    looks = [
        engines.objects.look(images.decode(photo.path.read_bytes(), minimum=1))
        for photo in progress(photos, "things in photos, each detector")
    ]
    figures = []
    for name, title, numbers in (
        ("efficientdet_lite0", "EfficientDet-Lite0 alone", (0,)),
        ("ssdlite", "SSDLite alone", (2,)),
        ("once", "both without mirror images, as in video", (0, 2)),
    ):
        found = [instances(fuse([look[number] for number in numbers], FUSE)) for look in looks]
        rankings = [rank(found, photos, kind, AREAS["all"]) for kind in COCO_CLASSES]
        figures += _figures({name: f"AP of {title}"}, rankings, len(photos))
    return Result(
        f"{len(photos)} photos of COCO val2017, each looked at once by each detector.",
        tuple(figures),
        notes=("SSDLite was probably trained on most of these photos, see its card.",),
    )


def _figures(titles: Mapping[str, str], rankings: Sequence[Ranking], photos: int) -> list[Figure]:
    values = averages(rankings, np.ones(photos, np.int64))
    low, high = interval(resampled(lambda counts: np.array(averages(rankings, counts)), photos))
    return [
        Figure(name, title, values[i], "points", photos, low[i], high[i], "higher")
        for i, (name, title) in enumerate(titles.items())
    ]


def _calibration(rankings: Sequence[Ranking], pictures: NDArray[np.integer]) -> tuple[Figure, Plot]:
    scores, right = outcomes(rankings, pictures)
    bins = reliability(scores, right)
    low, high = interval(
        resampled(lambda counts: reliability(*outcomes(rankings, pictures[places(counts)])).error, len(pictures))
    )
    title = "Calibration error of scores"
    return (
        Figure("calibration", title, 100 * bins.error, "points", len(scores), 100 * low, 100 * high, "lower"),
        Plot(
            "What share of things with a score is there",
            "line",
            "score",
            "share that is right",
            (Series("half of the photos", tuple(bins.probability.tolist()), tuple(bins.share.tolist())),),
            diagonal=True,
        ),
    )


def _per_class(rankings: Sequence[Ranking]) -> Table:
    rows = []
    for name, ranking in zip(COCO_CLASSES, rankings, strict=True):
        result = precision(ranking, np.ones(len(ranking.present), np.int64))
        if result is not None:
            things, photos = int(ranking.present.sum()), int((ranking.present > 0).sum())
            rows.append((name, things, photos, Cell(100 * result[0].mean()), Cell(100 * result[0][0])))
    rows.sort(key=lambda row: -row[1])
    return Table(
        "Average precision of each class",
        ("Class", "Things", "Photos", "AP", "AP at 0.5"),
        tuple(rows),
        "Most classes have a handful of things here: a single row says little.",
    )


_NETWORKS = ("efficientdet_lite0", "ssdlite")
EVALUATIONS = (
    Evaluation("coco", "Things in photos", _NETWORKS, ("coco",), partial(run, tiles=False)),
    Evaluation(
        "coco-tiles", "Things in photos, with tiles", _NETWORKS, ("coco",), partial(run, tiles=True), fast=False
    ),
    Evaluation("coco-alone", "Things in photos, each detector alone", _NETWORKS, ("coco",), run_alone, fast=False),
)
