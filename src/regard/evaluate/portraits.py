"""Pictures of evaluation data, each looked at once.

Most evaluations ask different things of the same pictures. What the networks see in one is kept for as long
as the networks are, so that a run looks at no picture twice.
"""

import csv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from regard.evaluate.result import EvaluationError, Progress
from regard.media.images import ImageError, decode
from regard.vision.attributes import ATTRIBUTES
from regard.vision.engines import Engines
from regard.vision.faces import Face, FaceEngine
from regard.vision.geometry import Box
from regard.vision.quality import rejections

CENTRED = 0.27  # of the picture's width: how far from the centre a face has lost 40 % of its weight


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """What the networks see: the picture's (width, height), its faces with all attributes, the largest first,
    which of them is the main one, and the embedding [d] of that; None where there is no face."""

    size: tuple[int, int]
    faces: tuple[Face, ...]
    main: Face | None
    embedding: NDArray[np.float32] | None

    @property
    def enrolled(self) -> bool:
        """Whether IndexFaces would take the main face with QualityFilter AUTO."""
        return self.main is not None and not rejections(self.main, self.size, "AUTO")


_seen: WeakKeyDictionary[Engines, dict[Path, Portrait]] = WeakKeyDictionary()


def look(engines: Engines, paths: Sequence[Path], progress: Progress, title: str) -> list[Portrait]:
    """What is seen in each picture, in their order."""
    seen = _seen.setdefault(engines, {})
    new = [path for path in dict.fromkeys(paths) if path not in seen]
    if new:
        faces = engines.faces
        with ThreadPoolExecutor(engines.settings.threads) as pool:
            # The pool's results are asked for first: it works ahead while the progress is drawn.
            found = pool.map(lambda path: portrait(faces, read(path)), new)
            for path, seeing in zip(progress(new, title), found, strict=True):
                seen[path] = seeing
    return [seen[path] for path in paths]


def read(path: Path) -> NDArray[np.uint8]:
    """A picture as a client's would be decoded, RGB [h, w, 3], of any size. Raises `EvaluationError`."""
    try:
        return decode(path.read_bytes(), minimum=1)
    except ImageError as error:
        raise EvaluationError(f"{path}: {error}") from error


def portrait(engine: FaceEngine, image: NDArray[np.uint8]) -> Portrait:
    """What is seen in a picture, RGB [h, w, 3]."""
    size = (image.shape[1], image.shape[0])
    faces = tuple(engine.describe(image, engine.detect(image), frozenset(ATTRIBUTES)))
    main = max(faces, key=lambda face: _weight(face.detection.box, size), default=None)
    return Portrait(size, faces, main, None if main is None else engine.embed(image, [main])[0])


def _weight(box: Box, size: tuple[int, int]) -> float:
    """The largest face is a portrait's, unless another is nearly as large and nearer the centre."""
    x, y = box.left + box.width / 2 - size[0] / 2, box.top + box.height / 2 - size[1] / 2
    return float(box.area * np.exp(-((np.hypot(x, y) / (CENTRED * size[0])) ** 2) / 2))


def similarities(engine: FaceEngine, probes: Sequence[Portrait], references: Sequence[Portrait]) -> NDArray[np.float64]:
    """Similarity 0–100 of each main face with each: [n, m]. All must have one, see `Portrait.embedding`."""
    return engine.similarity.similarity(engine.compare(embeddings(probes), embeddings(references)))


def embeddings(portraits: Sequence[Portrait]) -> NDArray[np.float32]:
    """The embeddings of the main faces, [n, d]; all must have one."""
    return np.array([portrait.embedding for portrait in portraits], np.float32)


def inside(box: Box, x: float, y: float) -> bool:
    """Whether the point is in the box."""
    return box.left < x < box.left + box.width and box.top < y < box.top + box.height


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a heading."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
