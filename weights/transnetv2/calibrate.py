"""How probable a transition is, given the network's answer: `calibration.json`.

    python weights/transnetv2/calibrate.py DATA [COUNT]

Clips are joined as `regard evaluate` joins them, from other videos and photos than it uses; every candidate is one
that is at a joint or one that is not. A logistic function is fitted to them by Newton's method, with the prior that
Platt gave (1999) against certainty, and what it says of clips that it was not fitted to is printed.
"""

import json
import sys
from pathlib import Path

import numpy as np

from regard.evaluate import shots as joined
from regard.settings import settings
from regard.vision import models
from regard.vision.shots import Calibration, ShotDetector, log_odds

FIRST_SEED = 1000
FOLDER = Path(__file__).parent


def clips(data, count):
    """Joined clips, none of which is in the evaluation."""
    filmed, shown = joined.pieces(data, joined.CALIBRATED_ON), joined.photos(data / "coco", slice(joined.PHOTOS, None))
    return (joined.join(filmed, shown, FIRST_SEED + number) for number in range(count))


def candidates(data, count):
    """Of each candidate: the clip, 1 and the log odds, whether it is at a joint."""
    detector = ShotDetector(
        models.path("transnetv2", settings().cache), Calibration(0.0, 1.0), threads=settings().threads
    )
    rows = []
    for number, clip in enumerate(clips(data, count)):
        for one in detector.candidates(clip.frames):
            true = any(j.first - joined.TOLERANCE <= one.start <= j.last + joined.TOLERANCE for j in clip.joints)
            rows.append((number, 1.0, log_odds(one.answer), true))
    return np.array(rows, np.float64)


def fit(features, true):
    positives = true.sum()
    target = np.where(true, (positives + 1) / (positives + 2), 1 / (len(true) - positives + 2))
    weights = np.zeros(features.shape[1])
    for _ in range(100):
        p = 1 / (1 + np.exp(-features @ weights))
        gradient = features.T @ (target - p) - 1e-3 * weights
        hessian = (features * (p * (1 - p))[:, None]).T @ features + 1e-3 * np.eye(len(weights))
        weights += np.linalg.solve(hessian, gradient)
    return weights


def main(data, count=24):
    rows = candidates(Path(data), int(count))
    clip, features, true = rows[:, 0], rows[:, 1:3], rows[:, 3].astype(bool)
    even = clip % 2 == 0
    held_out = np.empty(len(rows))
    for part in (even, ~even):
        held_out[~part] = 1 / (1 + np.exp(-features[~part] @ fit(features[part], true[part])))
    print(f"{len(rows)} candidates, {true.sum()} at joints; each judged by a function fitted to the other clips:")
    for low, high in ((0, 0.5), (0.5, 0.8), (0.8, 0.95), (0.95, 1.01)):
        inside = (held_out >= low) & (held_out < high)
        if inside.any():
            print(
                f"{low:.2f}–{min(high, 1):.2f}: {inside.sum()} candidates, mean {held_out[inside].mean():.3f}, true {true[inside].mean():.3f}"
            )
    offset, slope = (round(float(weight), 4) for weight in fit(features, true))
    document = {"offset": offset, "slope": slope}
    (FOLDER / "calibration.json").write_text(json.dumps(document) + "\n", "utf-8")
    print(document)


if __name__ == "__main__":
    main(*sys.argv[1:])
