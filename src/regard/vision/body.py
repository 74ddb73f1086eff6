"""Find people: their boxes and 17 joints each.

MoveNet MultiPose (Google, 2021) is CenterNet on MobileNetV2: every cell of a grid says whether a person's centre
is there, how large its box is and roughly where the joints are; a heatmap per joint then places each exactly.
The published network decodes at most six people itself. Here its heads are decoded, so that there may be any
number, and at a size of picture of our choice.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.vision.geometry import Box, resize
from regard.vision.session import CPU, Precision, Session

JOINTS = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
"""COCO's, left and right being the person's own."""

SIZE = 384  # of the longer side of what the network sees; at 256 it misses small people, at 512 it cuts large ones
STRIDE = 4  # pixels of the input per cell
_MULTIPLE = 32
# Variance, in cells, of the weight by which a joint is looked for near where the centre expects it: 0.3 times
# the 64 cells of a side that the network was published with.
_REACH = 0.3 * 64
THRESHOLD = 0.1
MAX_BODIES = 50
OVERLAP = 0.6  # of two people's boxes, above which they are one


@dataclass(frozen=True, slots=True)
class Body:
    """A person.

    `score` 0–1 ranks people and is no probability. `joints` float32 [17, 3] are x, y and score (0–1) by
    `JOINTS`; a joint that is hidden or outside has a low score. The box lies within the picture.
    """

    box: Box
    score: float
    joints: NDArray[np.float32]


class BodyNetwork:
    """Finds people; many threads may use it at once."""

    def __init__(
        self, path: Path, *, threads: int, device: str = CPU, precision: Precision = "f32", cache: Path | None = None
    ) -> None:
        self._session = Session(
            path, threads=threads, device=device, precision=precision, shapes={0: (1, 3, -1, -1)}, cache=cache
        )

    def find(self, image: NDArray[np.uint8]) -> list[Body]:
        """The people in `image`, uint8 RGB [h, w, 3], best first, at most 50."""
        height, width = image.shape[:2]
        scale = SIZE / max(height, width)
        small = resize(image, max(1, round(width * scale)), max(1, round(height * scale)))
        down, right = -small.shape[0] % _MULTIPLE, -small.shape[1] % _MULTIPLE
        padded = cv2.copyMakeBorder(small, 0, down, 0, right, cv2.BORDER_CONSTANT)
        heads = self._session.run(padded.transpose(2, 0, 1)[None].astype(np.float32))
        found = _decode(dict(zip(self._session.outputs, heads, strict=True)))
        ratios = small.shape[1] / width, small.shape[0] / height
        return [_in_picture(body, ratios, (width, height)) for body in found]


def _decode(heads: dict[str, NDArray[np.float32]]) -> list[Body]:
    """The people in pixels of the input, best first."""
    centre = heads["center"][0, 0]
    peak = cv2.dilate(centre, np.ones((5, 5), np.uint8)) == centre
    rows, columns = np.nonzero(peak & (centre >= THRESHOLD))
    best = np.argsort(-centre[rows, columns], kind="stable")[:MAX_BODIES]
    bodies = [_body(heads, int(rows[i]), int(columns[i])) for i in best]
    return _distinct(sorted((body for body in bodies if body.score), key=lambda body: -body.score))


def _body(heads: dict[str, NDArray[np.float32]], row: int, column: int) -> Body:
    """The person whose centre is in a cell."""
    cell = np.array([row, column], np.float32)
    middle = cell + heads["box_offset"][0, :, row, column]
    half = np.maximum(heads["box_scale"][0, :, row, column], 0) / 2
    limit = np.array(heads["center"].shape[2:], np.float32)
    near, far = np.clip(middle - half, 0, limit), np.clip(middle + half, 0, limit)
    expected = cell + heads["kpt_regress"][0, :, row, column].reshape(-1, 2)
    joints = _joints(heads, expected, near, far)
    seen = joints[:, 2]
    sure = seen[seen > 0.127]
    score = float(heads["center"][0, 0, row, column] * (sure.mean() if sure.size else 0))
    (top, left), (bottom, right) = (near * STRIDE).tolist(), (far * STRIDE).tolist()
    return Body(Box(left, top, right - left, bottom - top), score, joints)


def _joints(
    heads: dict[str, NDArray[np.float32]], expected: NDArray[Any], near: NDArray[Any], far: NDArray[Any]
) -> NDArray[np.float32]:
    """x, y in pixels of the input and score of each joint, looked for within the box around where it is expected."""
    top, left = np.ceil(near).astype(int)
    bottom, right = np.maximum(np.ceil(far).astype(int), (top + 1, left + 1))
    heat = heads["kpt_heatmap"][0, :, top:bottom, left:right]
    down = np.arange(top, top + heat.shape[1])[None] - expected[:, :1]
    across = np.arange(left, left + heat.shape[2])[None] - expected[:, 1:]
    nearness = np.exp(-(down[:, :, None] ** 2 + across[:, None, :] ** 2) / _REACH)
    weighted = (heat * nearness).reshape(len(JOINTS), -1)
    if not weighted.shape[1]:
        return np.zeros((len(JOINTS), 3), np.float32)
    cell = weighted.argmax(1)
    rows, columns = top + cell // heat.shape[2], left + cell % heat.shape[2]
    numbers = np.arange(len(JOINTS))
    offset = heads["kpt_offset"][0, :, rows, columns].reshape(len(JOINTS), len(JOINTS), 2)[numbers, numbers]
    return np.column_stack(
        [(columns + offset[:, 1]) * STRIDE, (rows + offset[:, 0]) * STRIDE, weighted[numbers, cell]]
    ).astype(np.float32)


def _distinct(bodies: list[Body]) -> list[Body]:
    """The people without those whose box is nearly that of a better one."""
    kept: list[Body] = []
    for body in bodies:
        if all(body.box.overlap(other.box) < OVERLAP for other in kept):
            kept.append(body)
    return kept


def _in_picture(body: Body, ratios: tuple[float, float], size: tuple[int, int]) -> Body:
    """A person found in a picture `ratios` times as large, in the pixels of the one of `size`."""
    left = min(body.box.left / ratios[0], size[0])
    top = min(body.box.top / ratios[1], size[1])
    right = min((body.box.left + body.box.width) / ratios[0], size[0])
    bottom = min((body.box.top + body.box.height) / ratios[1], size[1])
    joints = (body.joints / (*ratios, 1.0)).astype(np.float32)
    return Body(Box(left, top, right - left, bottom - top), body.score, joints)
