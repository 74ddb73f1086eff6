"""Labels: how often a photo gets the name of what it shows, and how often the name of what it does not.

Photos of ImageNet show one thing each, whose class is in the file's name. COCO's show many, and which of its 80
classes are there is annotated; what else they show is not, so labels beyond those classes are not judged there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regard.evaluate import objects
from regard.evaluate.result import Evaluation, Figure, Plot, Progress, Result, Series
from regard.evaluate.statistics import Reliability, interval, places, reliability, resampled, wilson
from regard.media import images
from regard.operations.labels import DEFAULT_MIN_CONFIDENCE
from regard.vision import labels
from regard.vision.engines import Engines
from regard.vision.objects import COCO_CLASSES
from regard.vision.tags import classes
from regard.vision.taxonomy import concepts, labels_of_classes

# What stands for one of COCO's classes: of these labels the annotations say whether they are true.
JUDGED = frozenset(labels_of_classes()[f"coco:{name}"] for name in COCO_CLASSES)


@dataclass(frozen=True, slots=True)
class Seen:
    """A photo: the labels that are true of it, and the confidences, 0–100, of those that it got."""

    true: frozenset[str]
    confidences: Mapping[str, float]

    @property
    def given(self) -> frozenset[str]:
        """The labels that are given by default."""
        return frozenset(name for name, value in self.confidences.items() if value >= DEFAULT_MIN_CONFIDENCE)


def direct_parents(label: str) -> frozenset[str]:
    """The ancestors of a label that are not above another of its ancestors."""
    above = frozenset(concepts()[label].parents)
    return above.difference(*(concepts()[name].parents for name in above))


def run(engines: Engines, data: Path, progress: Progress) -> Result:
    single = [
        _look(engines, path, frozenset({_named(path)}))
        for path in progress(sorted((data / "imagenet").glob("*.jpg")), "labels: imagenet")
    ]
    many = [
        _look(engines, photo.path, frozenset(labels_of_classes()[f"coco:{name}"] for name in photo.things))
        for photo in progress(objects.read(data / "coco"), "labels: coco")
    ]
    calibration, plot = _calibration(many[1::2])
    return Result(
        f"{len(single)} photos of ImageNet's validation set, one class each, and {len(many)} of COCO val2017, whose "
        f"{sum(len(photo.true) for photo in many)} labels of COCO's classes were annotated. Labels count that are "
        f"given at the default MinConfidence of {DEFAULT_MIN_CONFIDENCE:g}. The networks' scores were calibrated on "
        "half of the photos; calibration is measured on the other half.",
        (*_names(single), *_judged(many), calibration),
        plots=(plot,),
        notes=(
            "A label of a COCO photo that stands for none of COCO's classes (a tag such as Bakery) is not judged.",
            "COCO's annotators did not mark everything: some labels that count as false are true.",
            "SSDLite was probably trained on most of the COCO photos, see its card: on others expect less.",
            "What a doubted tag counts was chosen on these photos, among others.",
        ),
    )


def _look(engines: Engines, path: Path, true: frozenset[str]) -> Seen:
    found = labels.find(engines, images.decode(path.read_bytes(), minimum=1))
    return Seen(true, {label.concept.name: label.confidence for label in found})


def _named(path: Path) -> str:
    """The label of an ImageNet photo's class, whose number in WordNet its file's name begins with."""
    return labels_of_classes()["imagenet:" + dict(classes())[path.stem.partition("_")[0]]]


def _names(photos: list[Seen]) -> list[Figure]:
    """How often photos of ImageNet are named."""
    leaves = frozenset(label for name, label in labels_of_classes().items() if name.startswith("imagenet:"))
    exact = [bool(photo.true & photo.given) for photo in photos]
    near = [bool((photo.true | frozenset().union(*map(direct_parents, photo.true))) & photo.given) for photo in photos]
    first = [
        max(leaves & photo.confidences.keys(), key=photo.confidences.__getitem__, default="") in photo.true
        for photo in photos
    ]
    return [
        _share("named", "ImageNet photos with the label of their class", exact),
        _share("named_or_parent", "ImageNet photos with the label of their class or its direct parent", near),
        _share("named_first", "ImageNet photos whose class has the most confident label of a class", first),
    ]


def _share(name: str, title: str, successes: list[bool]) -> Figure:
    share = sum(successes) / len(successes)
    low, high = wilson(sum(successes), len(successes))
    return Figure(name, title, 100 * share, "%", len(successes), 100 * low, 100 * high, "higher")


def _judged(photos: list[Seen]) -> list[Figure]:
    """Precision, recall and false labels of COCO's classes, with intervals over photos."""
    counts = np.array(
        [(len(given & photo.true), len(given), len(photo.true)) for photo in photos for given in [photo.given & JUDGED]]
    )

    def figures(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        right, given, true = counts[places(drawn)].sum(0)
        return np.array([100 * right / given, 100 * right / true, (given - right) / drawn.sum()], np.float64)

    _, given, true = counts.sum(0).tolist()
    values = figures(np.ones(len(counts), np.int64)).tolist()
    low, high = interval(resampled(figures, len(counts))).tolist()
    return [
        Figure("precision", "COCO-class labels that are true", values[0], "%", given, low[0], high[0], "higher"),
        Figure("recall", "Annotated COCO classes with their label", values[1], "%", true, low[1], high[1], "higher"),
        Figure("false", "False COCO-class labels a photo", values[2], "count", len(photos), low[2], high[2], "lower"),
    ]


def _calibration(photos: list[Seen]) -> tuple[Figure, Plot]:
    """Whether labels of COCO's classes are true as often as their confidence says."""
    pairs = [
        [(value / 100, name in photo.true) for name, value in photo.confidences.items() if name in JUDGED]
        for photo in photos
    ]

    def of(drawn: NDArray[np.int64]) -> Reliability:
        chosen = np.array([pair for place in places(drawn) for pair in pairs[place]], np.float64).reshape(-1, 2)
        return reliability(chosen[:, 0], chosen[:, 1] > 0)

    found = of(np.ones(len(pairs), np.int64))
    low, high = interval(resampled(lambda drawn: of(drawn).error, len(pairs))).tolist()
    figure = Figure(
        "calibration",
        "Expected calibration error of COCO-class labels",
        100 * found.error,
        "points",
        int(found.count.sum()),
        100 * low,
        100 * high,
        "lower",
    )
    series = Series("labels", tuple((100 * found.probability).tolist()), tuple((100 * found.share).tolist()))
    plot = Plot(
        "Confidence of COCO-class labels and how many are true",
        "line",
        "mean confidence, %",
        "true, %",
        (series,),
        diagonal=True,
    )
    return figure, plot


EVALUATIONS = (
    Evaluation(
        "labels",
        "Labels of ImageNet and COCO photos",
        ("efficientdet_lite0", "ssdlite", "efficientnet_lite2"),
        ("imagenet", "coco/instances.json"),
        run,
    ),
)
