"""Where a face is turned to: roll, yaw and pitch from its mesh.

The mesh is laid over MediaPipe's canonical face, which looks straight into the camera, by the rotation that
fits best; its angles are the pose.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regard.vision.mesh import Mesh

# Points of the mesh that move little with expression: index, weight, and x (to the picture's right), y (up),
# z (to the camera) in the canonical face, in centimetres. From the metadata of MediaPipe's face geometry
# pipeline (Apache-2.0), which fits its head pose to the same points.
CANONICAL = (
    (4, 0.0709, 0.000, -0.463, 7.587),
    (6, 0.0321, 0.000, 2.473, 5.789),
    (10, 0.0084, 0.000, 8.262, 4.482),
    (33, 0.0587, -4.446, 2.664, 3.173),
    (54, 0.0077, -6.279, 6.615, 1.426),
    (67, 0.0091, -3.524, 8.006, 3.729),
    (117, 0.0098, -5.259, 0.946, 2.974),
    (119, 0.0146, -3.301, 0.862, 3.873),
    (121, 0.0186, -1.821, 1.468, 4.224),
    (127, 0.0052, -7.743, 2.365, -2.005),
    (129, 0.1206, -1.786, -0.978, 4.850),
    (132, 0.0056, -7.271, -2.891, -2.252),
    (133, 0.0533, -1.856, 2.585, 3.758),
    (136, 0.0669, -5.085, -7.179, 0.715),
    (143, 0.0148, -6.408, 2.236, 1.561),
    (147, 0.0143, -6.235, -1.944, 1.664),
    (198, 0.0255, -1.247, 0.230, 5.681),
    (205, 0.0473, -3.833, -1.537, 4.138),
    (263, 0.0587, 4.446, 2.664, 3.173),
    (284, 0.0077, 6.279, 6.615, 1.426),
    (297, 0.0091, 3.524, 8.006, 3.729),
    (346, 0.0098, 5.259, 0.946, 2.974),
    (348, 0.0146, 3.301, 0.862, 3.873),
    (350, 0.0186, 1.821, 1.468, 4.224),
    (356, 0.0052, 7.743, 2.365, -2.005),
    (358, 0.1206, 1.786, -0.978, 4.850),
    (361, 0.0056, 7.271, -2.891, -2.252),
    (362, 0.0533, 1.856, 2.585, 3.758),
    (365, 0.0669, 5.085, -7.179, 0.715),
    (372, 0.0148, 6.408, 2.236, 1.561),
    (376, 0.0143, 6.235, -1.944, 1.664),
    (420, 0.0255, 1.247, 0.230, 5.681),
    (425, 0.0473, 3.833, -1.537, 4.138),
)
_INDEX = np.array([row[0] for row in CANONICAL])
_WEIGHT = np.array([row[1] for row in CANONICAL])
_POINTS = np.array([row[2:] for row in CANONICAL])


@dataclass(frozen=True, slots=True)
class Pose:
    """Degrees. Roll is positive when the head is turned clockwise in the picture, yaw when the face looks
    to the picture's right, pitch when it looks up.

    The signs are those of Rekognition, found by fitting the landmarks of published responses.
    """

    roll: float
    yaw: float
    pitch: float


def rotation(mesh: Mesh) -> NDArray[np.float64]:
    """The 3×3 rotation from the canonical face to the mesh; x to the picture's right, y up, z to the camera.

    Weighted least squares after Kabsch 1976 (Acta Cryst. A32).
    """
    found = mesh.points[_INDEX].astype(np.float64) * [1, -1, -1]
    weight = _WEIGHT[:, None] / _WEIGHT.sum()
    source = _POINTS - (weight * _POINTS).sum(0)
    target = found - (weight * found).sum(0)
    u, _, vt = np.linalg.svd(target.T @ (weight * source))
    return np.asarray(u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt)


def pose(turned: NDArray[np.float64]) -> Pose:
    """The pose of a head that is rotated by `turned` [3, 3] from facing the camera (see `rotation`).

    Turning the picture changes roll alone: the angles are those of a pitch, then a yaw, then a roll about
    the axis of the camera.
    """
    return Pose(
        roll=float(np.degrees(-np.arctan2(turned[1, 0], turned[0, 0]))),
        yaw=float(np.degrees(np.arcsin(np.clip(-turned[2, 0], -1, 1)))),
        pitch=float(np.degrees(-np.arctan2(turned[2, 1], turned[2, 2]))),
    )
