"""Turn what the networks say of a word into the probability that it is right, measured on street photos.

    python weights/text_recognition/calibrate.py EVALUATION_DATA

A word is right if it overlaps a true word of ICDAR 2015 by half and its text is the same but for the case of
letters. A logistic function of `text.evidence` is fitted to the words in the photos with even numbers; `regard
evaluate` measures its error on the others.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np

from regard.evaluate import text as protocol
from regard.settings import settings
from regard.vision import text

HERE = Path(__file__).parent
RIDGE = 0.01


def main() -> None:
    folder = Path(sys.argv[1]) / protocol.FOLDER
    reader = text.TextReader.load(settings())
    evidence, right = [], []
    for file in sorted(folder.glob("img_*.jpg")):
        if int(file.stem.removeprefix("img_")) % 2 == 0:
            numbers, truth = judged(reader, folder, file)
            evidence += numbers
            right += truth
    slopes = fit(np.array(evidence), np.array(right, float))
    report = dict(zip(("characters", "score", "offset"), slopes.round(3).tolist()))
    report["measured"] = {"words": len(right), "right": int(sum(right))}
    (HERE / "calibration.json").write_text(json.dumps(report) + "\n")
    print(json.dumps(report, indent=1))


def judged(reader: text.TextReader, folder: Path, file: Path) -> tuple[list, list]:
    """The evidence for each word in a photo that counts, and whether it is right."""
    image = np.ascontiguousarray(cv2.imread(str(file))[:, :, ::-1])
    spelled = [
        (text.evidence(characters, strip.score), text.Word("".join(one.text for one in characters), corners, 0.0))
        for strip in reader.find(image)
        for characters, corners in reader.spell(image, strip)
    ]
    words = [word for _, word in spelled]
    found = protocol.match(words, protocol.truths(folder / f"gt_{file.stem}.txt"), protocol.same_text).right
    counted = [(numbers, bool(is_right)) for (numbers, _), is_right in zip(spelled, found) if is_right is not None]
    return [numbers for numbers, _ in counted], [is_right for _, is_right in counted]


def fit(evidence: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Slopes and offset of the logistic function that makes `right` most likely (Newton's method)."""
    design = np.column_stack([evidence, np.ones(len(evidence))])
    weights = np.zeros(design.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-design @ weights))
        hessian = design.T @ (design * (p * (1 - p))[:, None]) + RIDGE * np.eye(len(weights))
        weights += np.linalg.solve(hessian, design.T @ (right - p) - RIDGE * weights)
    return weights


if __name__ == "__main__":
    main()
