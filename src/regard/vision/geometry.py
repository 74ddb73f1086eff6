"""Points, boxes, similarity transforms and sizes in pixel coordinates."""

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

    def union(self, other: "Box") -> "Box":
        """The smallest box around both."""
        left, top = min(self.left, other.left), min(self.top, other.top)
        right = max(self.left + self.width, other.left + other.width)
        bottom = max(self.top + self.height, other.top + other.height)
        return Box(left, top, right - left, bottom - top)

    def shared(self, other: "Box") -> float:
        """The area that both cover."""
        across = min(self.left + self.width, other.left + other.width) - max(self.left, other.left)
        down = min(self.top + self.height, other.top + other.height) - max(self.top, other.top)
        return max(across, 0.0) * max(down, 0.0)

    def overlap(self, other: "Box") -> float:
        """Intersection over union, 0–1."""
        shared = self.shared(other)
        return shared / (self.area + other.area - shared) if shared else 0.0


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
    return _warp(image, matrix, (size, size), border)


def straighten(image: NDArray[np.uint8], corners: NDArray[Any], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The crop of `size` (width, height) that shows the rectangle with these `corners` [4, 2] of `image`.

    The corners are, in the crop, the upper left, upper right, lower right and lower left one. As in `warp`, a
    large picture is averaged first.
    """
    width, height = size
    target = np.array([[0, 0], [width, 0], [0, height]], np.float32) - np.float32(0.5)
    source = np.asarray(corners, np.float32)[[0, 1, 3]] - np.float32(0.5)
    matrix = np.asarray(cv2.getAffineTransform(source, target), np.float64)
    return _warp(image, matrix, size, cv2.BORDER_REPLICATE)


def _warp(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], size: tuple[int, int], border: int
) -> NDArray[np.uint8]:
    shrink = round(1 / max(float(np.hypot(*matrix[:, 0])), 1e-6))
    if shrink > 1:
        image, matrix = _shrunk(image, matrix, size, min(shrink, *image.shape[:2]))
    crop = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(crop, np.uint8)


def _shrunk(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], size: tuple[int, int], shrink: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The part of `image` that the crop shows, `shrink` times smaller, and the transform from there."""
    width, height = size
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    back = cv2.invertAffineTransform(matrix)
    shown = corners @ back[:, :2].T + back[:, 2]
    limit = np.array(image.shape[1::-1])
    first = np.clip(np.floor(shown.min(0)) - shrink, 0, limit - 1).astype(int)
    last = np.clip(np.ceil(shown.max(0)) + shrink, first + 1, limit).astype(int)
    part = image[first[1] : last[1], first[0] : last[0]]
    down, right = (-side % shrink for side in part.shape[:2])
    if down or right:
        part = np.asarray(cv2.copyMakeBorder(part, 0, down, 0, right, cv2.BORDER_REPLICATE), np.uint8)
    small = cv2.resize(part, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
    moved = matrix.copy()
    moved[:, :2] *= shrink
    # The centre of a small pixel is (shrink − 1)/2 pixels from the first of those that it is the mean of.
    moved[:, 2] += matrix[:, :2] @ (first + (shrink - 1) / 2)
    return np.asarray(small, np.uint8), moved


def resize(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """`image` [h, w, 3] made `width`×`height`.

    Bilinear, after halving as long as bilinear sampling would skip pixels; five times as fast as by area.
    """
    while image.shape[1] >= 2 * width and image.shape[0] >= 2 * height:
        half = image.shape[1] // 2, image.shape[0] // 2
        even = image[: 2 * half[1], : 2 * half[0]]
        image = np.asarray(cv2.resize(even, half, interpolation=cv2.INTER_AREA), np.uint8)
    if image.shape[1::-1] == (width, height):
        return np.ascontiguousarray(image)
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
