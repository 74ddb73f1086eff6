"""Turn MoveNet's scores into the probabilities that a box shows a person and that a joint is where it is said.

    python weights/movenet_multipose/calibrate.py EVALUATION_DATA

Person: the share of `coco/`'s detections that overlap an annotated person by half, as a logistic function of the
score; those on crowds are left out. Joint: `wrists.csv` says of 135 wrists, evenly from all scores, whether a hand is
seen there, as a logistic function of the score's logarithm. The figures printed are of functions fitted to the
other half of the photos.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np

from regard.media.images import decode
from regard.settings import settings
from regard.vision import models
from regard.vision.body import BodyNetwork
from regard.vision.geometry import Box

HERE = Path(__file__).parent
SCORES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.8)
NEAR = 0.05  # of the person's longer side, within which a wrist is the labelled one


def main() -> None:
    data = Path(sys.argv[1])
    network = BodyNetwork(models.path("movenet_multipose", settings().cache), threads=settings().threads)
    report = {}
    for name, (files, scores, right) in {"person": persons(network, data), "joint": wrists(network, data)}.items():
        scores, right = np.log(np.array(scores)), np.array(right)
        half = np.array([sorted(set(files)).index(file) % 2 == 0 for file in files])
        held_out = np.empty(len(right))
        for part in (half, ~half):
            held_out[~part] = probability(scores[~part], *fit(scores[part], right[part]))
        fitted = fit(scores, right)
        points = [(score, round(100 * float(probability(np.log(score), *fitted)), 1)) for score in SCORES]
        report[name] = [(0.0, 0.0), *points, (1.0, points[-1][1])]
        report[f"{name}_measured"] = {
            "trials": len(right),
            "right": int(right.sum()),
            "calibration_error_percent": round(100 * calibration_error(held_out, right), 1),
        }
    (HERE / "calibration.json").write_text(json.dumps(report) + "\n")
    print(json.dumps(report, indent=1))


def persons(network, data):
    """File, score and rightness of each detection on COCO's photos."""
    coco = json.loads((data / "coco" / "instances.json").read_text())
    (kind,) = (category["id"] for category in coco["categories"] if category["name"] == "person")
    files, scores, right = [], [], []
    for picture in coco["images"]:
        own = [a for a in coco["annotations"] if (a["image_id"], a["category_id"]) == (picture["id"], kind)]
        people = [Box(*a["bbox"]) for a in own if not a["iscrowd"]]
        crowds = [Box(*a["bbox"]) for a in own if a["iscrowd"]]
        for body in network.find(decode((data / "coco" / picture["file_name"]).read_bytes())):
            best = max(people, key=body.box.overlap, default=None)
            found = best is not None and body.box.overlap(best) >= 0.5
            if found:
                people.remove(best)
            elif any(body.box.shared(crowd) > body.box.area / 2 for crowd in crowds):
                continue
            files.append(picture["file_name"])
            scores.append(body.score)
            right.append(found)
    return files, scores, right


def wrists(network, data):
    """File, score and label of each labelled wrist that is found again."""
    files, scores, right = [], [], []
    with (HERE / "wrists.csv").open() as file:
        rows = list(csv.DictReader(file))
    bodies = {name: network.find(decode((data / name).read_bytes(), 1)) for name in {row["file"] for row in rows}}
    for row in rows:
        place = np.array([float(row["x"]), float(row["y"])])
        near = [
            (float(np.linalg.norm(joint[:2] - place)) / max(body.box.width, body.box.height), float(joint[2]))
            for body in bodies[row["file"]]
            for joint in [body.joints[int(row["joint"])]]
        ]
        distance, score = min(near, default=(1.0, 0.0))
        if distance < NEAR and score > 0:
            files.append(row["file"])
            scores.append(score)
            right.append(row["hand"] == "1")
    return files, scores, right


def fit(x, right):
    """Slope and offset of a logistic function, by Newton's method."""
    columns = np.column_stack([x, np.ones(len(x))])
    slopes = np.zeros(2)
    for _ in range(50):
        said = probability(x, *slopes)
        curvature = (columns * (said * (1 - said))[:, None]).T @ columns + 1e-3 * np.eye(2)
        slopes -= np.linalg.solve(curvature, columns.T @ (said - right) + 1e-3 * slopes)
    return slopes


def probability(x, slope, offset):
    return 1 / (1 + np.exp(-(slope * x + offset)))


def calibration_error(said, right):
    """Expected calibration error over five equally filled bins."""
    bins = np.array_split(np.argsort(said), 5)
    return sum(len(part) * abs(said[part].mean() - right[part].mean()) for part in bins) / len(said)


if __name__ == "__main__":
    main()
