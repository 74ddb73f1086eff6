"""How many faces the detector finds, how many it invents, and how long it takes.

    python benchmarks/detection.py EVALUATION_DATA [--draw FOLDER]

Prints every figure that weights/yunet/card.md gives. `--draw` writes the group photos with boxes and keypoints.
"""

import argparse
import json
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.settings import settings
from regard.vision.detection import Detection, Detector, yunet
from regard.vision.geometry import Box

Image = NDArray[np.uint8]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--draw", type=Path)
    options = arguments.parse_args()
    data: Path = options.data
    cv2.setNumThreads(1)
    started = time.perf_counter()
    detector = Detector(yunet(settings().cache), threads=1)
    print(f"ready after {time.perf_counter() - started:.2f} s")
    latency(detector, data)
    for name, pattern in (
        ("LFW", "lfw/*/*.jpg"),
        ("FairFace crops", "fairface/*.jpg"),
        ("CFP frontal", "cfp/*/frontal/*"),
        ("CFP profile", "cfp/*/profile/*"),
    ):
        portraits(detector, name, sorted(data.glob(pattern)))
    small_faces(detector, data)
    turned_faces(detector, data)
    masks(detector, data)
    no_people(detector, data)
    groups(detector, data, options.draw)


def read(path: Path) -> Image:
    return np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), np.uint8)


def latency(detector: Detector, data: Path) -> None:
    """Processor time, which is the wall time of one thread on an idle machine, and steady on a busy one."""
    portrait = read(next(iter(sorted((data / "samples" / "portraits").glob("obama.jpg")))))
    empty = read(sorted((data / "imagenet").glob("*tench*"))[0])
    for side in (250, 640, 1280, 1920, 4000):
        times = {}
        for name, image in (("face", portrait), ("no face", empty)):
            scale = side / max(image.shape)
            resized = np.asarray(cv2.resize(image, None, fx=scale, fy=scale), np.uint8)
            times[name] = median(timed(detector, resized) for _ in range(12))
        print(f"{side} px long: {times['face']:.1f} ms with a face, {times['no face']:.1f} ms without")


def timed(detector: Detector, image: Image) -> float:
    started = time.process_time()
    detector.detect(image)
    return 1000 * (time.process_time() - started)


def portraits(detector: Detector, name: str, files: list[Path]) -> None:
    """The share of pictures in which a face covers the middle."""
    confidences = np.array([middle(detector, read(file)) for file in files])
    shares = ", ".join(f"{100 * (confidences >= least).mean():.1f} % at {least}" for least in (50, 80, 90, 99))
    print(f"{name}: face found in {shares} percent confidence, of {len(files)}")


def middle(detector: Detector, image: Image) -> float:
    centre = image.shape[1] / 2, image.shape[0] / 2
    return max((found.confidence for found in detector.detect(image) if inside(found.box, *centre)), default=0.0)


def inside(box: Box, x: float, y: float) -> bool:
    return box.left < x < box.left + box.width and box.top < y < box.top + box.height


def small_faces(detector: Detector, data: Path) -> None:
    """LFW faces shrunk and pasted into photos without people, in 1920×1080."""
    faces = [read(file) for file in sorted((data / "lfw").glob("*/*.jpg"))[::13]]
    scenes = [read(file) for file in sorted((data / "imagenet").glob("*"))[: len(faces)]]
    for pixels in (24, 32, 40, 60, 100, 300):
        random = np.random.default_rng(pixels)
        hits = total = 0
        for face, scene in zip(faces, scenes, strict=False):
            box = max((f for f in detector.detect(face) if inside(f.box, 125, 125)), key=lambda f: f.box.area).box
            scale = pixels / box.width
            small = cv2.resize(face, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            canvas = cv2.GaussianBlur(cv2.resize(scene, (1920, 1080)), (0, 0), 3)
            x, y = (
                int(random.integers(0, limit - side))
                for limit, side in zip((1920, 1080), small.shape[1::-1], strict=True)
            )
            canvas[y : y + small.shape[0], x : x + small.shape[1]] = small
            centre = x + (box.left + box.width / 2) * scale, y + (box.top + box.height / 2) * scale
            hits += any(
                inside(f.box, *centre) and 0.5 < f.box.width / pixels < 2
                for f in detector.detect(np.asarray(canvas, np.uint8))
            )
            total += 1
        print(f"faces of {pixels} px in 1920×1080: {100 * hits / total:.1f} % of {total}")


def turned_faces(detector: Detector, data: Path) -> None:
    """LFW pictures turned; keypoint error as a share of the face's width, against the upright picture."""
    files = sorted((data / "lfw").glob("*/*.jpg"))[::13]
    for degrees in (0, 15, 30, 45, 60, 90, 135, 180):
        hits, errors = 0, []
        for file in files:
            image = read(file)
            turn = cv2.getRotationMatrix2D((125, 125), degrees, 1)
            upright = max((f for f in detector.detect(image) if inside(f.box, 125, 125)), key=lambda f: f.box.area)
            turned = np.asarray(cv2.warpAffine(image, turn, (250, 250), borderMode=cv2.BORDER_REFLECT), np.uint8)
            expected = upright.keypoints @ turn[:, :2].T + turn[:, 2]
            found = [f for f in detector.detect(turned) if inside(f.box, *expected.mean(0))]
            hits += bool(found)
            if found:
                best = max(found, key=lambda f: f.confidence)
                errors.append(np.linalg.norm(best.keypoints - expected, axis=1).mean() / upright.box.width)
        share = 100 * hits / len(files)
        print(f"turned by {degrees}°: {share:.1f} % of {len(files)}, keypoint error {median(errors):.3f}")


def masks(detector: Detector, data: Path) -> None:
    """Recall on annotated faces: a detection overlaps by 0.4 or has its middle inside and the other way round."""
    rows = []
    for file in sorted((data / "masks").glob("*.xml")):
        found = detector.detect(read(file.with_suffix(".jpg")))
        for face in ElementTree.parse(file).iter("object"):  # noqa: S314 — a file of the evaluation data
            left, top, right, bottom = (
                float(face.findtext(f"bndbox/{n}", "0")) for n in ("xmin", "ymin", "xmax", "ymax")
            )
            box = Box(left, top, right - left, bottom - top)
            confidence = max((f.confidence for f in found if same(f.box, box)), default=0.0)
            rows.append((face.findtext("name") == "with_mask", box.width, confidence))
    for name, chosen in (
        ("masked", [r for r in rows if r[0]]),
        ("not masked", [r for r in rows if not r[0]]),
        ("under 60 px", [r for r in rows if r[1] < 60]),
        ("60 to 150 px", [r for r in rows if 60 <= r[1] < 150]),
        ("150 px and more", [r for r in rows if r[1] >= 150]),
        ("all", rows),
    ):
        hits = sum(confidence > 0 for *_, confidence in chosen)
        print(f"masks, {name}: {hits} of {len(chosen)} faces found")


def same(a: Box, b: Box) -> bool:
    width = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    height = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
    shared = max(0.0, width) * max(0.0, height)
    centred = inside(b, a.left + a.width / 2, a.top + a.height / 2) and inside(
        a, b.left + b.width / 2, b.top + b.height / 2
    )
    return shared / (a.area + b.area - shared) >= 0.4 or centred


def no_people(detector: Detector, data: Path) -> None:
    """What is found in COCO photos that have no person. All of it is counted as false, drawn faces too."""
    coco = json.loads((data / "coco" / "instances.json").read_text())
    people = {entry["image_id"] for entry in coco["annotations"] if entry["category_id"] == 1}
    files = [data / "coco" / entry["file_name"] for entry in coco["images"] if entry["id"] not in people]
    found = [f.confidence for file in files for f in detector.detect(read(file))]
    counts = ", ".join(f"{sum(c >= least for c in found)} at {least}" for least in (50, 80, 90, 99))
    print(f"COCO without people, {len(files)} photos: {counts} percent confidence found falsely")


def groups(detector: Detector, data: Path, folder: Path | None) -> None:
    """Counts in the group photos, whose names end in the number of faces (a letter: one person)."""
    for file in sorted((data / "samples").glob("*/*.jpg")) + sorted((data / "samples").glob("*.*")):
        image = read(file)
        found = detector.detect(image)
        sure = ", ".join(f"{f.confidence:.0f}" for f in found)
        print(f"{file.relative_to(data)} {image.shape[1]}×{image.shape[0]}: {len(found)} faces ({sure})")
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f"{file.stem}.png"), cv2.cvtColor(drawn(image, found), cv2.COLOR_RGB2BGR))


def drawn(image: Image, found: Iterable[Detection]) -> Image:
    scale = min(1.0, 1000 / max(image.shape))
    canvas = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for face in found:
        box = face.box
        corners = [(box.left, box.top), (box.left + box.width, box.top + box.height)]
        cv2.rectangle(canvas, *(tuple(int(v * scale) for v in corner) for corner in corners), (0, 255, 0), 2)
        for number, point in enumerate(face.keypoints):
            cv2.circle(
                canvas, tuple(int(v * scale) for v in point), 2, [(255, 0, 0), (0, 0, 255)][number in (1, 4)], -1
            )
        label = f"{face.confidence:.0f}"
        cv2.putText(canvas, label, tuple(int(v * scale) for v in corners[0]), 0, 0.5, (255, 255, 0), 1)
    return np.asarray(canvas, np.uint8)


if __name__ == "__main__":
    main()
