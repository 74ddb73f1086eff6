"""A dense mesh of a face: 478 points with depth, and how sure the network is that a face is there.

The detector's five keypoints are enough to align a face. Thirty landmarks, head pose and gaze need more:
MediaPipe's face mesh (Kartynnik et al. 2019, "Real-time Facial Surface Geometry from Monocular Video on
Mobile GPUs"; with irises: Grishchenko et al. 2020, "Attention Mesh").
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.vision.geometry import Box, warp
from regard.vision.session import CPU, Session

SIZE = 256
POINTS = 478
MARGIN = 1.5  # crop side / longer side of the box


@dataclass(frozen=True, slots=True)
class Mesh:
    """`points` float32 [478, 3]: x to the right, y down, z away from the camera, all in the picture's pixels.

    `presence` 0–1 is the network's own probability that the crop shows a face.
    """

    points: NDArray[np.float32]
    presence: float


def crop_matrix(box: Box, keypoints: NDArray[Any]) -> NDArray[np.float64]:
    """The 2×3 transform from the picture to the network's crop: `box` enlarged, eyes level.

    `keypoints` [5, 2] in pixels, eyes first.
    """
    x, y = keypoints[1] - keypoints[0]
    side = MARGIN * max(box.width, box.height)
    centre = (box.left + box.width / 2, box.top + box.height / 2)
    matrix: NDArray[np.float64] = np.asarray(
        cv2.getRotationMatrix2D(centre, float(np.degrees(np.arctan2(y, x))), SIZE / side)
    )
    matrix[:, 2] += [SIZE / 2 - centre[0], SIZE / 2 - centre[1]]
    return matrix


class MeshNetwork:
    """Finds the mesh of a detected face."""

    def __init__(self, path: Path, *, threads: int, device: str = CPU, cache: Path | None = None) -> None:
        self._session = Session(path, threads=threads, device=device, cache=cache, shapes={0: (1, SIZE, SIZE, 3)})

    def find(self, image: NDArray[np.uint8], box: Box, keypoints: NDArray[Any]) -> Mesh:
        """The mesh of the face in `image` (RGB [h, w, 3]) with the detector's `box` and `keypoints` [5, 2]."""
        matrix = crop_matrix(box, keypoints)
        crop = warp(image, matrix, SIZE)
        raw, presence, _ = self._session.run(np.asarray(crop, np.float32)[None] / 255)
        points = raw.reshape(POINTS, 3)
        back = cv2.invertAffineTransform(matrix)
        scale = float(np.hypot(*back[:, 0]))
        flat = points[:, :2] @ back[:, :2].T + back[:, 2]
        return Mesh(
            np.column_stack([flat, points[:, 2] * scale]).astype(np.float32),
            float(1 / (1 + np.exp(-float(presence.item())))),
        )
