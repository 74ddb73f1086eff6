"""Fit the line that turns the fused score of a thing into a probability (Platt 1999), and write calibration.json.

    python calibrate.py DATA/coco

Of the photos in the folder, by id, every second one is used, the first included; `regard evaluate` measures the
calibration on the others. DATA/coco has COCO's pictures and their `instances.json`.
"""

import json
import sys
from pathlib import Path

import numpy as np

from regard.evaluate.objects import AREAS, outcomes, rank, read
from regard.media import images
from regard.settings import settings
from regard.vision.objects import COCO_CLASSES, ObjectEngine, instances


def fit(scores, right):
    """Slope and shift that make `right` most likely, by Newton's method."""
    rows = np.stack([np.log(scores / (1 - scores)), np.ones(len(scores))], 1)
    line = np.array([1.0, 0.0])
    for _ in range(30):
        p = 1 / (1 + np.exp(-rows @ line))
        line += np.linalg.solve((rows * (p * (1 - p))[:, None]).T @ rows, rows.T @ (right - p))
    return line


if __name__ == "__main__":
    photos = read(Path(sys.argv[1]))[::2]
    engine = ObjectEngine.load(settings())
    lines = {}
    for name, looks in {"whole": {}, "tiles": {"tiles": True}, "once": {"mirrored": False}}.items():
        found = [instances(engine.find(images.decode(photo.path.read_bytes(), minimum=1), **looks)) for photo in photos]
        rankings = [rank(found, photos, kind, AREAS["all"]) for kind in COCO_CLASSES]
        scores, right = outcomes(rankings, np.arange(len(photos)))
        lines[name] = [round(float(x), 3) for x in fit(scores, right)]
        print(f"{name}: {len(photos)} photos, {len(scores)} instances, {right.sum()} right: {lines[name]}")
    data = {"platt": lines, "photos": [int(photo.path.stem) for photo in photos]}
    Path(__file__).with_name("calibration.json").write_text(json.dumps(data) + "\n", "utf-8")
