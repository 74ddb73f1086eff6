"""How well faces are recognised and described: the figures of the docs, printed anew.

    python benchmarks/recognition.py [FOLDER]

FOLDER holds `lfw/`, `cfp/`, `fairface/` and `masks/` (public evaluation data; default: the environment's
REGARD_EVALUATION_DATA). Every photo goes the whole way: detect, take the main face, align, embed.
"""

import csv
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.settings import settings
from regard.vision import models, quality
from regard.vision.attributes import AGE_EDGES
from regard.vision.detection import Detection
from regard.vision.faces import Face, FaceEngine
from regard.vision.similarity import Similarity

Picture = NDArray[np.uint8]
ATTRIBUTES = frozenset({"AGE_RANGE", "GENDER", "FACE_OCCLUDED"})


def read(path: Path) -> Picture:
    return np.ascontiguousarray(np.asarray(cv2.imread(str(path)), np.uint8)[:, :, ::-1])


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def main_face(picture: Picture, detections: list[Detection]) -> Detection | None:
    """The largest, unless another is nearly as large and nearer the centre."""
    centre = np.array(picture.shape[1::-1]) / 2

    def weight(face: Detection) -> float:
        box = face.box
        off = np.hypot(box.left + box.width / 2 - centre[0], box.top + box.height / 2 - centre[1])
        return float(box.area * np.exp(-((off / (0.27 * picture.shape[1])) ** 2) / 2))

    return max(detections, key=weight, default=None)


def each(paths: list[Path], work: Callable[[Picture], Any]) -> dict[Path, Any]:
    with ThreadPoolExecutor(settings().threads) as pool:
        return dict(zip(paths, pool.map(lambda path: work(read(path)), paths), strict=True))


def verification(engine: FaceEngine, root: Path, files: list[str]) -> None:
    """Accuracy at the best single threshold, and what Similarity makes of genuine pairs."""

    def embed(picture: Picture) -> NDArray[np.float32] | None:
        face = main_face(picture, engine.detect(picture))
        return None if face is None else engine.embed(picture, [face])[0]

    pairs = {name: rows(root / name) for name in files}
    names = {pair[side] for found in pairs.values() for pair in found for side in "ab"}
    vectors = each([root / name for name in sorted(names)], embed)
    for name, found in pairs.items():
        usable = [p for p in found if vectors[root / p["a"]] is not None and vectors[root / p["b"]] is not None]
        same = np.array([pair["same"] == "1" for pair in usable])
        cosines = np.array([vectors[root / p["a"]] @ vectors[root / p["b"]] for p in usable])
        ordered = np.sort(cosines)
        thresholds = (ordered[1:] + ordered[:-1]) / 2
        right = [np.mean((cosines > threshold) == same) for threshold in thresholds]
        best = int(np.argmax(right))
        print(
            f"{root.name}/{name}: {len(usable)} of {len(found)} pairs, accuracy {100 * right[best]:.2f} % at cosine "
            f"{thresholds[best]:.3f}, genuine pairs above every stranger "
            f"{np.mean(cosines[same] > cosines[~same].max()):.3f}"
        )
        report_similarity(engine.similarity, cosines, same)


def report_similarity(similarity: Similarity, cosines: NDArray[Any], same: NDArray[np.bool_]) -> None:
    values = similarity.similarity(cosines)
    for level in (50, 80, 90, 99):
        print(
            f"  Similarity {level} (cosine {similarity.cosine_at(level):.3f}): "
            f"{100 * np.mean(values[same] >= level):.1f} % of genuine pairs, "
            f"{100 * np.mean(values[~same] >= level):.2f} % of strangers"
        )


def described(engine: FaceEngine, paths: list[Path]) -> dict[Path, tuple[Face, tuple[int, int]] | None]:
    def describe(picture: Picture) -> tuple[Face, tuple[int, int]] | None:
        face = main_face(picture, engine.detect(picture))
        size = (picture.shape[1], picture.shape[0])
        return None if face is None else (engine.describe(picture, [face], ATTRIBUTES)[0], size)

    return each(paths, describe)


def age_and_gender(engine: FaceEngine, root: Path) -> None:
    labels = rows(root / "labels.csv")
    faces = described(engine, [root / label["file"] for label in labels])
    inside, width, gender = [], [], []
    starts = {"0-2": 0, "3-9": 1, "10-19": 2, "20-29": 3, "30-39": 4, "40-49": 5, "50-59": 6, "60-69": 7}
    for label in labels:
        found = faces[root / label["file"]]
        if found is None:
            continue
        low, high = found[0].age_range or (0, 0)
        start = starts.get(label["age"], 8)
        first, last = AGE_EDGES[start], AGE_EDGES[start + 1]
        inside.append(max(0, min(high, last) - max(low, first)) / (last - first))
        width.append(high - low)
        answer = found[0].gender
        gender.append(answer is not None and answer.value == label["gender"])
    print(
        f"{root.name}: {len(gender)} of {len(labels)} faces, gender as labelled {100 * np.mean(gender):.1f} %, "
        f"AgeRange holds the age {100 * np.mean(inside):.1f} % (age uniform in its bin), "
        f"{np.mean(width):.1f} years wide"
    )


def accepted(engine: FaceEngine, root: Path, pattern: str) -> None:
    faces = [found for found in described(engine, sorted(root.glob(pattern))).values() if found]
    yaw = [abs(face.pose.yaw) for face, _ in faces]
    shares = {
        level: np.mean([not quality.rejections(face, size, level) for face, size in faces]) for level in quality.BARS
    }
    print(
        f"{root.name}/{pattern}: |yaw| median {np.median(yaw):.1f}, accepted "
        + ", ".join(f"{level} {100 * share:.1f} %" for level, share in shares.items())
    )


def masks(engine: FaceEngine, root: Path) -> None:
    """Photos with a single annotated face: how many are called occluded."""
    for kind in ("with_mask", "without_mask"):
        notes = [note for note in sorted(root.glob("*.xml")) if note.read_text("utf-8").count("<name>") == 1]
        chosen = [note.with_suffix(".jpg") for note in notes if f"<name>{kind}<" in note.read_text("utf-8")]
        faces = [found[0] for found in described(engine, chosen).values() if found]
        said = [face.face_occluded.value for face in faces if face.face_occluded]
        print(f"{root.name}: {kind}: {len(said)} of {len(chosen)} faces found, {100 * np.mean(said):.1f} % occluded")


def speed(engine: FaceEngine) -> None:
    """Milliseconds of one thread, with one call at a time."""
    picture = read(models.photos(settings().cache)["obama"])
    detection = engine.detect(picture)[0]
    face = engine.describe(picture, [detection], frozenset())[0]
    steps: dict[str, Callable[[], Any]] = {
        f"detect ({picture.shape[1]}×{picture.shape[0]})": lambda: engine.detect(picture),
        "mesh": lambda: engine.mesh.find(picture, detection.box, detection.keypoints),
        "quality": lambda: quality.quality(picture, face.keypoints),
        "attributes": lambda: engine.attributes.read(picture, face.keypoints),
        "embed (both views)": lambda: engine.embedder.embed(picture, face.keypoints[None]),
    }
    for name, step in steps.items():
        step()
        times = []
        for _ in range(30):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        print(f"{name}: {1000 * np.median(times):.1f} ms")


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ["REGARD_EVALUATION_DATA"])
    start = time.perf_counter()
    engine = FaceEngine.load(settings())
    print(f"networks loaded in {time.perf_counter() - start:.1f} s, embedder {engine.model_version}")
    speed(engine)
    verification(engine, folder / "lfw", ["pairs.csv"])
    verification(engine, folder / "cfp", ["pairs_FF.csv", "pairs_FP.csv"])
    age_and_gender(engine, folder / "fairface")
    masks(engine, folder / "masks")
    for root, pattern in (("lfw", "*/*.jpg"), ("cfp", "*/frontal/*.jpg"), ("cfp", "*/profile/*.jpg")):
        accepted(engine, folder / root, pattern)


if __name__ == "__main__":
    main()
