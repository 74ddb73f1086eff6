"""Moderation: how often a label is given to a picture that does not show it, and to one that does.

There are no pictures of nudity here, and none are sought: how much of it is found is not measured. Of the other
labels, photos with a class of ImageNet in their name say how much is found, and all photos that do not show the
thing say how often it is invented.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from regard.evaluate.result import Cell, Evaluation, Figure, Progress, Result, Table
from regard.evaluate.statistics import wilson
from regard.media import images
from regard.operations.moderation import DEFAULT_MIN_CONFIDENCE
from regard.vision import tags
from regard.vision.engines import Engines
from regard.vision.moderation import ENOUGH, SEEN, TAXONOMY, Label, Moderator, chain

# Which share of a folder's photos is looked at: of the many faces every tenth.
FOLDERS = {"coco": 1, "imagenet": 1, "samples": 1, "smoking": 1, "masks": 1, "icdar2015": 1, "lfw": 10, "fairface": 10}
PORNOGRAPHY = "Explicit"
# Photos of COCO that show more than they are annotated with, by the beginning of the file's name: all were looked at
# for beer, wine and spirits, weapons, pills and gambling.
SHOWS: Mapping[str, tuple[str, ...]] = {
    "000000047112": ("Alcoholic Beverages",),
    "000000160012": ("Alcoholic Beverages",),
    "000000346638": ("Alcoholic Beverages",),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One picture: its folder and name, the labels that it shows, the confidences, 0–100, that it got, and what the
    network nsfwjs alone says, 0–1."""

    folder: str
    name: str
    shown: frozenset[str]
    confidences: Mapping[str, float]
    nsfwjs: Mapping[str, float]

    def has(self, label: str) -> bool:
        """Whether the label is given by default."""
        return self.confidences.get(label, 0.0) >= DEFAULT_MIN_CONFIDENCE


def shown(path: Path) -> frozenset[str]:
    """The labels that a photo of the evaluation data shows: by ImageNet's class in its name, and by `SHOWS`."""
    synsets = [synset for synset, _ in tags.classes()]
    synset = path.name.partition("_")[0]
    index = synsets.index(synset) if synset in synsets else None
    direct = [label for label in TAXONOMY.values() if index in label.classes.values()]
    direct += [TAXONOMY[name] for start, names in SHOWS.items() if path.name.startswith(start) for name in names]
    return frozenset(above.name for label in direct for above in chain(label))


def look(moderator: Moderator, folder: str, path: Path) -> Seen:
    """What the networks say of one photo, however small it is."""
    image = images.decode(path.read_bytes(), minimum=1, enough=ENOUGH)
    confidences = {finding.label.name: finding.confidence for finding in moderator.moderate(image)}
    return Seen(folder, path.name, shown(path), confidences, moderator.nsfwjs(image))


def photos(data: Path) -> list[tuple[str, Path]]:
    """The photos to look at, each with its folder."""
    files = {
        folder: sorted(path for path in (data / folder).rglob("*") if path.suffix in (".jpg", ".png"))
        for folder in FOLDERS
    }
    return [(folder, path) for folder, step in FOLDERS.items() for path in files[folder][::step]]


def run(engines: Engines, data: Path, progress: Progress) -> Result:
    moderator = engines.moderation
    with ThreadPoolExecutor(engines.settings.threads) as pool:
        chosen = photos(data)
        looked = pool.map(lambda photo: look(moderator, *photo), chosen)  # asked for first: it works ahead
        seen = [picture for _, picture in zip(progress(chosen, "Moderating"), looked, strict=True)]
    labels = [label for label in TAXONOMY.values() if label.classes]
    counts = ", ".join(f"{sum(picture.folder == folder for picture in seen)} of {folder}" for folder in FOLDERS)
    return Result(
        f"{len(seen)} photos: {counts}. They show no nudity.",
        (
            false_alarms(PORNOGRAPHY, seen),
            highest(PORNOGRAPHY, seen),
            alone("nsfwjs_alone", "nsfwjs alone: photos taken for pornography", ("Hentai", "Porn"), seen),
            alone("drawings", "nsfwjs: photos taken for drawings", ("Drawing",), seen),
            found(TAXONOMY[PORNOGRAPHY], seen),
            *(figure for label in labels for figure in (false_alarms(label.name, seen), found(label, seen))),
        ),
        (by_folder([PORNOGRAPHY, *(label.name for label in labels)], seen),),
        notes=(
            f"{len(SEEN)} of the {len(TAXONOMY)} labels can be given at all; docs/moderation.md lists the others.",
            *mistakes([PORNOGRAPHY, *(label.name for label in labels)], seen),
        ),
    )


def slug(label: str) -> str:
    """A label as the beginning of a figure's name."""
    return label.lower().replace(" ", "_")


def false_alarms(label: str, seen: Sequence[Seen]) -> Figure:
    """The share of the photos without it that get the label."""
    without = [picture for picture in seen if label not in picture.shown]
    low, share, high = _shares(sum(picture.has(label) for picture in without), len(without))
    title = f"{label}: photos without it that get the label"
    return Figure(f"{slug(label)}_false", title, share, "%", len(without), low, high, "lower")


def found(label: Label, seen: Sequence[Seen]) -> Figure:
    """The share of the photos with it that get the label."""
    showing = [picture for picture in seen if label.name in picture.shown]
    name, title = f"{slug(label.name)}_found", f"{label.name}: photos with it that get the label"
    if not showing:
        return Figure(name, title, None, "%", 0, note="No photo here shows it.")
    low, share, high = _shares(sum(picture.has(label.name) for picture in showing), len(showing))
    return Figure(name, title, share, "%", len(showing), low, high, "higher")


def highest(label: str, seen: Sequence[Seen]) -> Figure:
    """The highest confidence that a photo without it gets."""
    most = max(picture.confidences.get(label, 0.0) for picture in seen if label not in picture.shown)
    return Figure(f"{slug(label)}_highest", f"{label}: highest confidence", most, "points", len(seen), better="lower")


def alone(name: str, title: str, classes: Sequence[str], seen: Sequence[Seen]) -> Figure:
    """The share of photos to which nsfwjs gives these classes a probability of a half or more."""
    count = sum(sum(picture.nsfwjs[name] for name in classes) >= 0.5 for picture in seen)
    low, share, high = _shares(count, len(seen))
    return Figure(name, title, share, "%", len(seen), low, high, "lower")


def by_folder(labels: Sequence[str], seen: Sequence[Seen]) -> Table:
    """The share of photos without the thing that get the label, for each folder."""
    rows: list[tuple[str | int | Cell, ...]] = []
    for label in labels:
        without = [picture for picture in seen if label not in picture.shown]
        rows.append((label, *(_cell(label, [picture for picture in without if picture.folder == f]) for f in FOLDERS)))
    return Table("Photos without it that get the label, %", ("Label", *FOLDERS), tuple(rows))


def mistakes(labels: Sequence[str], seen: Sequence[Seen]) -> list[str]:
    """A sentence for each photo that gets a label and does not show it."""
    return [
        f"{label} at {picture.confidences[label]:.0f} on {picture.folder}/{picture.name}."
        for label in labels
        for picture in seen
        if picture.has(label) and label not in picture.shown
    ]


def _cell(label: str, pictures: Sequence[Seen]) -> Cell:
    """The share of the pictures that get the label, if there are any."""
    if not pictures:
        return Cell(None)
    low, share, high = _shares(sum(picture.has(label) for picture in pictures), len(pictures))
    return Cell(share, low, high)


def _shares(count: int, of: int) -> tuple[float, float, float]:
    """The lower end of the 95 % interval, the share and the upper end, all in percent."""
    low, high = wilson(count, of)
    return 100 * low, 100 * count / of, 100 * high


EVALUATIONS = (Evaluation("moderation", "Moderation labels", ("open_nsfw", "nsfwjs"), tuple(FOLDERS), run),)
