"""Turn what is seen of a face into the probabilities that it wears a mask and that the mask covers the nose.

    python weights/face_mask/calibrate.py EVALUATION_DATA

Worn: a logistic function of the logits of the network's score and of the attribute network's occlusion, fitted to
the annotated faces of `masks/` that the detector finds and to 350 bare faces each of `lfw/` and `fairface/`.
Classes weigh the same, as do bare faces of `masks/` and of the other two. The figures printed are of functions
fitted to the other half of the photos.

Nose: photos of masks below the nose were not to be had. A logistic function of `nose_contrast` is fitted to the
masked faces of `masks/` (which cover the nose in all 59) and to composites: bare faces of `lfw/`, aligned, whose
part below the nose comes from a masked face.
"""

import json
import random
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import numpy as np

from regard.media.images import decode
from regard.settings import settings
from regard.vision import models
from regard.vision.faces import FaceEngine
from regard.vision.geometry import ARCFACE_POINTS, Box, align
from regard.vision.masks import MaskNetwork, aligned_contrast

HERE = Path(__file__).parent
BARE = 350
FOUND = 0.3  # intersection over union of a detection with the annotated face
RIDGE = 0.5
BELOW_NOSE = 78  # row of the aligned face where the mask of a composite begins, softened over four rows


def main() -> None:
    data = Path(sys.argv[1])
    engine = FaceEngine.load(settings())
    network = MaskNetwork(models.path("face_mask", settings().cache), threads=settings().threads)
    annotated = [face for file in sorted((data / "masks").glob("*.jpg")) for face in masks_faces(engine, network, file)]
    others = [
        face
        for folder in ("lfw", "fairface")
        for file in random.Random(0).sample(sorted((data / folder).rglob("*.jpg")), BARE)
        for face in bare_faces(engine, network, file)
    ]
    report = {**fit_worn(annotated, others), **fit_nose(annotated, others)}
    (HERE / "calibration.json").write_text(json.dumps(report) + "\n")
    print(json.dumps(report, indent=1))


def masks_faces(engine, network, file):
    image = decode(file.read_bytes(), 1)
    found = engine.detect(image)
    for item in ElementTree.parse(file.with_suffix(".xml")).getroot().iter("object"):
        left, top, right, bottom = (float(item.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax"))
        box = Box(left, top, right - left, bottom - top)
        near = [face for face in found if face.box.overlap(box) >= FOUND]
        if near:
            best = max(near, key=lambda face: face.box.overlap(box))
            yield look(engine, network, image, best, file.name, item.findtext("name") == "with_mask")


def bare_faces(engine, network, file):
    image = decode(file.read_bytes(), 1)
    for face in engine.detect(image)[:1]:
        yield look(engine, network, image, face, file.name, False)


def look(engine, network, image, detection, name, masked):
    (face,) = engine.describe(image, [detection], frozenset())
    occluded = engine.attributes.read(image, face.keypoints).visible["occluded"]
    return {
        "file": name,
        "masked": masked,
        "logits": [logit(network.score(image, detection.box)), logit(occluded)],
        "aligned": align(image, face.keypoints, ARCFACE_POINTS, 112, cv2.BORDER_REPLICATE),
        "bare": occluded < 0.1,
    }


def fit_worn(annotated, others):
    logits = np.array([face["logits"] for face in annotated + others])
    masked = np.array([face["masked"] for face in annotated + others])
    own = np.arange(len(masked)) < len(annotated)
    files = sorted({face["file"] for face in annotated + others})
    half = np.array([files.index(face["file"]) % 2 == 0 for face in annotated + others])
    held_out = np.empty(len(masked))
    for part in (half, ~half):
        held_out[~part] = probability(logits[~part], fit(logits[part], masked[part], weights(masked[part], own[part])))
    mask, occluded, offset = fit(logits, masked, weights(masked, own))
    said = held_out > 0.5
    return {
        "worn": {"mask": round(mask, 3), "occluded": round(occluded, 3), "offset": round(offset, 3)},
        "worn_held_out": {
            "masked": [int(said[masked].sum()), int(masked.sum())],
            "bare_in_masks": [int(said[own & ~masked].sum()), int((own & ~masked).sum())],
            "bare_elsewhere": [int(said[~own].sum()), int((~own).sum())],
        },
    }


def fit_nose(annotated, others):
    choose = random.Random(0)
    masked = [face["aligned"] for face in annotated if face["masked"]]
    composites = [composite(face["aligned"], choose.choice(masked)) for face in others if face["bare"]]
    contrast = np.array([[aligned_contrast(face)] for face in masked + composites])
    covered = np.arange(len(contrast)) < len(masked)
    half = np.arange(len(contrast)) % 2 == 0
    held_out = np.empty(len(contrast))
    for part in (half, ~half):
        fitted = fit(contrast[part], covered[part], weights(covered[part], covered[part]))
        held_out[~part] = probability(contrast[~part], fitted)
    slope, offset = fit(contrast, covered, weights(covered, covered))
    return {
        "covers_nose": {"contrast": round(slope, 4), "offset": round(offset, 3)},
        "covers_nose_held_out": {
            "covered": [int((held_out[covered] > 0.5).sum()), int(covered.sum())],
            "composites_called_covered": [int((held_out[~covered] > 0.5).sum()), int((~covered).sum())],
        },
    }


def composite(bare, masked):
    share = np.clip((np.arange(112) - BELOW_NOSE) / 4, 0, 1)[:, None, None]
    return (bare * (1 - share) + masked * share).astype(np.uint8)


def weights(positive, own):
    """Half of the weight for positives; of the rest half each for negatives that are `own` and that are not."""
    groups = [positive, ~positive & own, ~positive & ~own]
    weight = np.zeros(len(positive))
    for group, share in zip(groups, (0.5, 0.25, 0.25) if groups[1].any() else (0.5, 0, 0.5), strict=True):
        weight[group] = 100 * share / max(group.sum(), 1)
    return weight


def fit(features, positive, weight):
    """Slopes and offset of a weighted logistic function, by Newton's method; the slopes are held back a little."""
    columns = np.column_stack([features, np.ones(len(features))])
    ridge = np.diag([RIDGE] * features.shape[1] + [1e-6])
    slopes = np.zeros(columns.shape[1])
    for _ in range(100):
        said = 1 / (1 + np.exp(-columns @ slopes))
        curvature = (columns * (weight * said * (1 - said))[:, None]).T @ columns + ridge
        slopes -= np.linalg.solve(curvature, columns.T @ (weight * (said - positive)) + ridge @ slopes)
    return slopes


def probability(features, slopes):
    return 1 / (1 + np.exp(-(features @ slopes[:-1] + slopes[-1])))


def logit(share):
    share = np.clip(share, 1e-4, 1 - 1e-4)
    return float(np.log(share / (1 - share)))


if __name__ == "__main__":
    main()
