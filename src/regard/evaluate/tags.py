"""How often the class of a photo is named first, or among the first five, and whether its score can be believed."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regard.evaluate.result import Evaluation, Figure, Plot, Progress, Result, Series
from regard.evaluate.statistics import interval, places, reliability, resampled, wilson
from regard.media import images
from regard.vision.engines import Engines
from regard.vision.tags import classes


def run(engines: Engines, data: Path, progress: Progress) -> Result:
    number = {synset: index for index, (synset, _) in enumerate(classes())}
    files = sorted((data / "imagenet").glob("*.jpg"))
    true = np.array([number[file.name.split("_")[0]] for file in files])
    readings = [
        engines.tags.read(images.decode(file.read_bytes(), minimum=1)).tags
        for file in progress(files, "tags of photos")
    ]
    first = np.array([bool(tags) and tags[0].index == index for tags, index in zip(readings, true, strict=True)])
    fifth = np.array([index in [tag.index for tag in tags[:5]] for tags, index in zip(readings, true, strict=True)])
    held = np.arange(1, len(files), 2)
    scores = np.array([tags[0].score if tags else 0.0 for tags in readings])
    bins = reliability(scores[held], first[held])
    low, high = interval(
        resampled(lambda counts: reliability(*(x[held[places(counts)]] for x in (scores, first))).error, len(held))
    )
    title = "Calibration error of the first tag"
    return Result(
        f"{len(files)} photos of ImageNet, one a class. The scores were calibrated on half of them, and calibration is "
        "measured on the other half.",
        (
            _share("top1", "Right class first", first),
            _share("top5", "Right class among the first five", fifth),
            Figure("calibration", title, 100 * bins.error, "points", len(held), 100 * low, 100 * high, "lower"),
        ),
        plots=(
            Plot(
                "How often the first tag is right",
                "line",
                "score",
                "share that is right",
                (Series("half of the photos", tuple(bins.probability.tolist()), tuple(bins.share.tolist())),),
                diagonal=True,
            ),
        ),
    )


def _share(name: str, title: str, right: NDArray[np.bool_]) -> Figure:
    low, high = wilson(int(right.sum()), len(right))
    return Figure(name, title, 100 * float(right.mean()), "%", len(right), 100 * low, 100 * high, "higher")


EVALUATIONS = (Evaluation("imagenet", "Tags of photos", ("efficientnet_lite2",), ("imagenet",), run),)
