"""Points, boxes and similarity transforms in pixel coordinates."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# Eye at the picture's left, eye at its right, nose tip, mouth corners left and right, for a 112×112 crop
# (the alignment of ArcFace, Deng et al. 2019, that nearly all face embedders are trained with).
ARCFACE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    np.float64,
)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels. It may reach beyond the picture, as a face at the border does."""

    left: float
    top: float
    width: float
    height: float

    @property
    def area(self) -> float:
        return self.width * self.height


def similarity_transform(source: NDArray[Any], target: NDArray[Any]) -> NDArray[np.float64]:
    """The 2×3 rotation, scale and shift that best maps `source` [n, 2] to `target` [n, 2].

    Least squares after Umeyama, "Least-squares estimation of transformation parameters between two point
    patterns", PAMI 1991.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    source_mean, target_mean = source.mean(0), target.mean(0)
    centred = source - source_mean
    u, sigma, vt = np.linalg.svd((target - target_mean).T @ centred / len(source))
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(sign) @ vt
    scale = (sigma * sign).sum() / centred.var(0).sum()
    matrix = np.empty((2, 3))
    matrix[:, :2] = scale * rotation
    matrix[:, 2] = target_mean - matrix[:, :2] @ source_mean
    return matrix


def align(
    image: NDArray[np.uint8],
    keypoints: NDArray[Any],
    template: NDArray[Any],
    size: int,
    border: int = cv2.BORDER_CONSTANT,
) -> NDArray[np.uint8]:
    """The `size`×`size` crop of `image` [h, w, 3] in which `keypoints` [5, 2] lie on `template` [5, 2]."""
    return warp(image, similarity_transform(keypoints, template), size, border)


def warp(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], size: int, border: int = cv2.BORDER_CONSTANT
) -> NDArray[np.uint8]:
    """The `size`×`size` crop of `image` [h, w, 3] that the 2×3 similarity transform `matrix` maps to.

    Where the picture is much larger than the crop it is first shrunk by averaging: sampling it at the crop's
    resolution would alias, and an embedding would change with a shift of a pixel.
    """
    shrink = round(1 / max(float(np.hypot(*matrix[:, 0])), 1e-6))
    if shrink > 1:
        image, matrix = _shrunk(image, matrix, size, min(shrink, *image.shape[:2]))
    crop = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(crop, np.uint8)


def _shrunk(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], size: int, shrink: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The part of `image` that the crop shows, `shrink` times smaller, and the transform from there."""
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]], np.float64)
    back = cv2.invertAffineTransform(matrix)
    shown = corners @ back[:, :2].T + back[:, 2]
    limit = np.array(image.shape[1::-1])
    first = np.clip(np.floor(shown.min(0)) - shrink, 0, limit - 1).astype(int)
    last = np.clip(np.ceil(shown.max(0)) + shrink, first + 1, limit).astype(int)
    part = image[first[1] : last[1], first[0] : last[0]]
    height, width = part.shape[:2]
    if height % shrink or width % shrink:
        part = np.asarray(
            cv2.copyMakeBorder(part, 0, -height % shrink, 0, -width % shrink, cv2.BORDER_REPLICATE), np.uint8
        )
    small = cv2.resize(part, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
    moved = matrix.copy()
    moved[:, :2] *= shrink
    # The centre of a small pixel is (shrink − 1)/2 pixels from the first of those that it is the mean of.
    moved[:, 2] += matrix[:, :2] @ (first + (shrink - 1) / 2)
    return np.asarray(small, np.uint8), moved
