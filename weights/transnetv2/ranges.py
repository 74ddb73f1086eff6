"""The greatest values that TransNetV2's convolutions see: `ranges.json`, for `convert.py`.

    python weights/transnetv2/ranges.py ARCHIVE DATA [COUNT]

Clips are joined as in `calibrate.py`. Of what the network, computed in float32, has at each point a sample is rounded
to 8 bits up to a bound, and the bound is the one with the least squared error.
"""

import json
import sys
from pathlib import Path

import numpy as np
from calibrate import FIRST_SEED, clips
from convert import RANGES, convert

from regard.settings import settings
from regard.vision.session import Session
from regard.vision.shots import histograms

FRAMES = 100  # in a window
SAMPLE = 20_000  # of the values at a point in a window
BOUNDS = np.linspace(0.05, 1, 96)  # of the greatest value


def best(values):
    """The bound up to which 8 bits are closest to the values."""
    signed = values.min() < 0
    levels = 127 if signed else 255

    def error(bound):
        rounded = np.clip(np.round(values * (levels / bound)), -levels if signed else 0, levels) * (bound / levels)
        return float(np.square(values - rounded).mean())

    return min(BOUNDS * np.abs(values).max(), key=error)


def main(archive, data, count=3):
    network = Session(convert(archive, None).SerializeToString(), threads=settings().threads)
    points = network.outputs[2:]
    seen = {point: [] for point in points}
    chance = np.random.default_rng(FIRST_SEED)
    for clip in clips(Path(data), int(count)):
        for start in range(0, len(clip.frames) - FRAMES + 1, FRAMES):
            frames = clip.frames[start : start + FRAMES]
            blob = np.ascontiguousarray(frames.transpose(3, 0, 1, 2)[None], np.float32)
            for point, values in zip(points, network.run(blob, histograms(frames)[None])[2:], strict=True):
                seen[point].append(chance.choice(values.ravel(), SAMPLE, replace=False))
    ranges = {point: round(float(best(np.concatenate(values))), 4) for point, values in seen.items()}
    RANGES.write_text(json.dumps(ranges, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
