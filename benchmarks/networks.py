"""How long each network takes for one picture, and each capability beside the networks that it runs.

    python -m benchmarks.networks

Processor time on one thread, which is the wall time of an idle core, and steady on a busy machine. For the
capabilities also the wall time on all cores; the ratio is of processor times: what is not a network's.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from regard.media.images import decode
from regard.settings import Settings
from regard.vision import labels, models, quality
from regard.vision.engines import Engines
from regard.vision.faces import FaceEngine
from regard.vision.session import Session
from regard.vision.text import GLANCE, GLANCED

REPEATS = 12
SIDES = (250, 640, 1280, 1920, 4000)
HD = (1280, 720)
BATCH = 8
BATCHED = {
    "face_attributes": (3, 128, 128),
    "face_mask": (3, 224, 224),
    "efficientnet_lite2": (260, 260, 3),
    "open_nsfw": (224, 224, 3),
    "nsfwjs": (224, 224, 3),
    "text_detection": (3, 288, 512),
    "text_recognition": (3, 48, 320),
}
Picture = NDArray[np.uint8]
Clock = Callable[[], float]


def milliseconds(work: Callable[[], Any], clock: Clock = time.process_time) -> float:
    """The median of some calls, after one that is not counted."""
    work()
    times = []
    for _ in range(REPEATS):
        started = clock()
        work()
        times.append(clock() - started)
    return float(np.median(times)) * 1000


def scaled(picture: Picture, side: int) -> Picture:
    scale = side / max(picture.shape)
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale), np.uint8)


def faces(engine: FaceEngine, portrait: Picture, console: Console) -> None:
    """The steps of a face, and finding faces in pictures of several sizes."""
    empty = np.random.default_rng(0).integers(0, 255, portrait.shape, np.uint8)
    detection = Table(title="Detection, ms")
    for column in ("Long side", "With a face", "Without"):
        detection.add_column(column, justify="right")
    for side in SIDES:
        times = (milliseconds(partial(engine.detect, scaled(image, side))) for image in (portrait, empty))
        detection.add_row(str(side), *(f"{taken:.1f}" for taken in times))
    console.print(detection)
    found = engine.detect(portrait)[0]
    face = engine.describe(portrait, [found], frozenset())[0]
    steps: dict[str, Callable[[], Any]] = {
        "mesh": lambda: engine.mesh.find(portrait, found.box, found.keypoints),
        "quality": lambda: quality.quality(portrait, face.keypoints),
        "attributes": lambda: engine.attributes.read(portrait, face.keypoints),
        "embedding, both views": lambda: engine.embedder.embed(portrait, face.keypoints),
    }
    console.print(", ".join(f"{name} {milliseconds(step):.1f} ms" for name, step in steps.items()))


def two_people(photos: Mapping[str, Any]) -> Picture:
    """A picture of 1280×720 with a person in each half."""
    picture = np.full((HD[1], HD[0], 3), 200, np.uint8)
    for place, name in enumerate(("obama", "astronaut")):
        photo = decode(photos[name].read_bytes())
        height = round(HD[0] / 2 * photo.shape[0] / photo.shape[1])
        shown = np.asarray(cv2.resize(photo, (HD[0] // 2, height)), np.uint8)[: HD[1]]
        picture[: shown.shape[0], place * HD[0] // 2 : (place + 1) * HD[0] // 2] = shown
    return picture


def capabilities(engines: Engines, picture: Picture, page: Picture) -> dict[str, tuple[Callable[[], Any], ...]]:
    """Each capability, and then the networks that it runs, on a picture of two people or on a page of text."""
    found = engines.faces.detect(picture)
    described = engines.faces.describe(picture, found, frozenset())
    small = scaled(picture, labels.FACE_SIDE)
    small_faces = engines.faces.detect(small)
    strips, glanced = engines.text.find(page), engines.text.detector.find(picture, GLANCE)[:GLANCED]
    equipment, moderation = engines.equipment, engines.moderation
    return {
        "labels": (
            lambda: labels.find(engines, picture),
            lambda: engines.objects.look(picture),
            lambda: engines.tags.logits(picture),
            lambda: engines.faces.detect(small),
            lambda: engines.faces.describe(small, small_faces, frozenset(labels.ATTRIBUTES)),
            lambda: engines.text.detector.find(picture, GLANCE),
            lambda: [engines.text.words(picture, strip) for strip in glanced],
        ),
        "moderation": (
            lambda: moderation.moderate(picture),
            lambda: moderation.open_nsfw(picture),
            lambda: moderation.nsfwjs(picture),
            lambda: engines.tags.logits(picture),
            lambda: engines.tags.logits(picture),
        ),
        "text, 35 words": (
            lambda: engines.text.read(page),
            lambda: engines.text.detector.find(page),
            lambda: [engines.text.words(page, strip) for strip in strips],
        ),
        "equipment, 2 people": (
            lambda: equipment.look(picture),
            lambda: engines.faces.detect(picture),
            lambda: engines.objects.look(picture),
            lambda: equipment.bodies.find(picture),
            lambda: engines.faces.describe(picture, found, frozenset()),
            lambda: [engines.faces.attributes.read(picture, face.keypoints) for face in described],
            lambda: [equipment.masks.score(picture, face.box) for face in found],
        ),
    }


def beside_networks(engines: Engines, picture: Picture, page: Picture, console: Console) -> None:
    """What finding faces, text and tags takes without the networks, whose answers are played back."""
    run, answers = Session.run, list[Any]()
    steps: dict[str, Callable[[], Any]] = {
        "finding text": lambda: engines.text.find(page),
        "at a glance": lambda: engines.text.detector.find(page, GLANCE),
        "finding faces at 1280": lambda: engines.faces.detect(picture),
        "at 1920": lambda: engines.faces.detect(large),
        "tags": lambda: engines.tags.read(picture),
    }
    large = scaled(picture, 1920)
    taken = []
    for name, step in steps.items():
        step()  # loads the networks
        answers.clear()
        with patch.object(
            Session, "run", lambda session, *inputs: answers.append(run(session, *inputs)) or answers[-1]
        ):
            step()
        played = cycle(answers)
        with patch.object(Session, "run", lambda *_, played=played: next(played)):
            taken.append(f"{name} {milliseconds(step):.1f} ms")
    console.print("Without the networks: " + ", ".join(taken))


def batches(cache: Path, console: Console) -> None:
    """A picture alone, and one of a batch, for networks that take batches."""
    table = Table(title=f"A picture, ms; one thread, with OpenVINO; {BATCH} pictures at once")
    for column in ("Network", "Alone", "In a batch", "Alone / batch"):
        table.add_column(column, justify="left" if column == "Network" else "right")
    for name, shape in BATCHED.items():
        pictures = np.random.default_rng(0).integers(0, 255, (BATCH, *shape)).astype(np.float32)
        times = []
        for count in (1, BATCH):
            session = Session(models.path(name, cache), threads=1, shapes={0: (count, *shape)})
            times.append(milliseconds(partial(session.run, pictures[:count])) / count)
        table.add_row(name, *(f"{taken:.1f}" for taken in times), f"{times[0] / times[1]:.2f}")
    console.print(table)


def main() -> None:
    console = Console()
    cv2.setNumThreads(1)
    settings = Settings()
    photos = models.photos(settings.cache)
    alone = Engines(settings.model_copy(update={"threads": 1}))
    faces(alone.faces, decode(photos["obama"].read_bytes()), console)
    page = np.asarray(cv2.resize(decode(photos["page"].read_bytes()), (1280, 637)), np.uint8)
    picture, everything = two_people(photos), Engines(settings)
    beside_networks(alone, picture, page, console)
    batches(settings.cache, console)
    table = Table(title=f"Capabilities at 1280×720, ms; {settings.threads} cores")
    for column in ("Capability", "One thread", "Its networks", "Ratio", "All cores"):
        table.add_column(column, justify="left" if column == "Capability" else "right")
    on_all = capabilities(everything, picture, page)
    for name, (whole, *networks) in capabilities(alone, picture, page).items():
        taken, bare = milliseconds(whole), sum(milliseconds(network) for network in networks)
        wall = milliseconds(on_all[name][0], time.perf_counter)
        table.add_row(name, f"{taken:.0f}", f"{bare:.0f}", f"{taken / bare:.2f}", f"{wall:.0f}")
    console.print(table)


if __name__ == "__main__":
    main()
