"""Turn YuNet's score into the probability of a face, measured on photos of all kinds.

    python weights/yunet/calibrate.py EVALUATION_DATA

`labels.csv` says of each detection with a score of 0.3 or more on 594 photos (COCO, ImageNet, ICDAR 2015,
smoking, masks, portraits and groups) whether it is a face. A logistic function of the cube of the score is
fitted to them (of the score's logit or first to fourth power, the cube and the fourth have the smallest error),
and `calibration.json` gets points of it. Nearly all detections below 0.3 are no faces. The error is of functions
fitted to the other four fifths of the photos.
"""

import csv
import json
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from regard.settings import settings
from regard.vision import detection

HERE = Path(__file__).parent
LOWEST = 0.3
KEEP = 70.0  # percent: what is rather a face than not, with room for doubt
SCORES = (0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def main() -> None:
    folder = Path(sys.argv[1])
    files, scores, faces = labelled_scores(folder)
    slope, offset = fit(scores, faces)
    held_out = np.empty(len(faces))
    part = np.array([hash_of(file) % 5 for file in files])
    for fold in range(5):
        test = part == fold
        held_out[test] = probability(scores[test], *fit(scores[~test], faces[~test]))
    points = (
        [(0.0, 0.0)] + [(score, round(100 * probability(score, slope, offset), 1)) for score in SCORES] + [(1.0, 100.0)]
    )
    threshold = float(np.interp(KEEP, [confidence for _, confidence in points], [score for score, _ in points]))
    kept = scores >= threshold
    report = {
        "threshold": round(threshold, 3),
        "points": points,
        "measured": {
            "detections": len(faces),
            "faces": int(faces.sum()),
            "calibration_error_percent": round(100 * calibration_error(held_out, faces), 1),
            "precision_percent": round(100 * faces[kept].mean(), 1),
            "recall_of_labelled_percent": round(100 * kept[faces].mean(), 1),
        },
    }
    (HERE / "calibration.json").write_text(json.dumps(report) + "\n")
    print(json.dumps(report["measured"], indent=1))
    for low, high in zip(SCORES, SCORES[1:] + (1.0,)):
        inside = (scores >= low) & (scores < high)
        if inside.any():
            print(
                f"score {low:.2f}–{high:.2f}: {inside.sum():4d} detections, {100 * faces[inside].mean():5.1f} % faces, held-out confidence {100 * held_out[inside].mean():5.1f}"
            )


def labelled_scores(folder: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """File, score and label of each detection that overlaps a labelled one."""
    labels = defaultdict(list)
    with (HERE / "labels.csv").open() as file:
        for row in csv.DictReader(file):
            labels[row["file"]].append(
                ([float(row[side]) for side in ("left", "top", "right", "bottom")], row["face"] == "1")
            )
    description = replace(detection.yunet(settings().cache), threshold=LOWEST, calibration=())
    detector = detection.Detector(description, threads=1)
    files, scores, faces = [], [], []
    unknown = 0
    for name, boxes in labels.items():
        image = cv2.cvtColor(cv2.imread(str(folder / name)), cv2.COLOR_BGR2RGB)
        for found in detector.upright(image):
            box = found.box
            corners = [box.left, box.top, box.left + box.width, box.top + box.height]
            overlap, face = max((overlap_of(corners, known), face) for known, face in boxes)
            if overlap < 0.5:
                unknown += 1
                continue
            files.append(name)
            scores.append(found.confidence / 100)
            faces.append(face)
    print(f"{unknown} detections have no label")
    return files, np.array(scores), np.array(faces)


def overlap_of(a: list[float], b: list[float]) -> float:
    """Intersection over union of left, top, right, bottom."""
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def hash_of(name: str) -> int:
    return sum(name.encode())


def probability(score, slope: float, offset: float):
    return 1 / (1 + np.exp(-(slope * score**3 + offset)))


def fit(scores: np.ndarray, faces: np.ndarray) -> tuple[float, float]:
    """Slope and offset of the logistic function that makes the labels most likely (Newton's method)."""
    design = np.column_stack([scores**3, np.ones(len(scores))])
    weights = np.zeros(2)
    for _ in range(30):
        p = 1 / (1 + np.exp(-design @ weights))
        weights += np.linalg.solve(design.T @ (design * (p * (1 - p))[:, None]), design.T @ (faces - p))
    return float(weights[0]), float(weights[1])


def calibration_error(probabilities: np.ndarray, faces: np.ndarray) -> float:
    """Mean distance of probability and truth over ten bins, weighted by their counts."""
    bins = np.minimum((probabilities * 10).astype(int), 9)
    return sum(
        (bins == i).mean() * abs(probabilities[bins == i].mean() - faces[bins == i].mean())
        for i in range(10)
        if (bins == i).any()
    )


if __name__ == "__main__":
    main()
