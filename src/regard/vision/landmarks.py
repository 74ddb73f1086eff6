"""The thirty named landmarks of a face, from its mesh or, where no mesh was found, from five keypoints.

The names and their order are those of Rekognition's `LandmarkType`; left and right are the picture's for an
upright face. Mesh points were chosen by fitting MediaPipe's canonical face to published responses.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.vision.mesh import Mesh

# Name, point of the mesh, and x (to the picture's right), y (up), z (to the camera) in MediaPipe's canonical
# face (Apache-2.0), in centimetres. The canonical face has no irises: its pupils are the middles of the eyes.
TABLE = (
    ("eyeLeft", 468, -3.15, 2.62, 3.47),
    ("eyeRight", 473, 3.15, 2.62, 3.47),
    ("nose", 1, 0.00, -1.13, 7.48),
    ("mouthLeft", 61, -2.46, -4.34, 4.28),
    ("mouthRight", 291, 2.46, -4.34, 4.28),
    ("leftEyeBrowLeft", 70, -5.72, 4.25, 2.83),
    ("leftEyeBrowRight", 107, -1.40, 5.01, 5.32),
    ("leftEyeBrowUp", 105, -3.99, 5.11, 4.47),
    ("rightEyeBrowLeft", 336, 1.40, 5.01, 5.32),
    ("rightEyeBrowRight", 300, 5.72, 4.25, 2.83),
    ("rightEyeBrowUp", 334, 3.99, 5.11, 4.47),
    ("leftEyeLeft", 33, -4.45, 2.66, 3.17),
    ("leftEyeRight", 133, -1.86, 2.59, 3.76),
    ("leftEyeUp", 159, -3.18, 2.96, 3.88),
    ("leftEyeDown", 145, -3.18, 2.29, 3.78),
    ("rightEyeLeft", 362, 1.86, 2.59, 3.76),
    ("rightEyeRight", 263, 4.45, 2.66, 3.17),
    ("rightEyeUp", 386, 3.18, 2.96, 3.88),
    ("rightEyeDown", 374, 3.18, 2.29, 3.78),
    ("noseLeft", 98, -1.41, -1.71, 5.24),
    ("noseRight", 327, 1.41, -1.71, 5.24),
    ("mouthUp", 0, 0.00, -3.41, 5.98),
    ("mouthDown", 17, 0.00, -5.37, 5.54),
    ("leftPupil", 468, -3.15, 2.62, 3.47),
    ("rightPupil", 473, 3.15, 2.62, 3.47),
    ("upperJawlineLeft", 127, -7.74, 2.36, -2.01),
    ("midJawlineLeft", 58, -6.72, -4.79, -1.75),
    ("chinBottom", 152, 0.00, -9.40, 4.26),
    ("midJawlineRight", 288, 6.72, -4.79, -1.75),
    ("upperJawlineRight", 356, 7.74, 2.36, -2.01),
)
LANDMARKS: tuple[str, ...] = tuple(row[0] for row in TABLE)
KEYPOINTS = 5  # the first landmarks are, in this order, those that detectors find
_INDEX = np.array([row[1] for row in TABLE])
_CANONICAL = np.array([row[2:] for row in TABLE], np.float64)
_DISTANCE = 200.0  # centimetres from camera to face: so far that perspective hardly matters


def from_mesh(mesh: Mesh) -> NDArray[np.float32]:
    """The landmarks of a mesh: float32 [30, 2] in the picture's pixels."""
    return mesh.points[_INDEX, :2]


def from_keypoints(keypoints: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Landmarks float32 [30, 2] and head rotation (as `pose.rotation`) from a detector's `keypoints` [5, 2].

    The canonical face is turned until its five points lie on `keypoints`; the other landmarks are then where
    an average face has them. (SQPnP, Terzakis and Lourakis 2020.)
    """
    centre = keypoints.mean(0)
    spread = float(np.linalg.norm(keypoints - centre, axis=1).max())
    focal = _DISTANCE * spread / 5
    camera = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]], np.float64)
    flip = np.diag([1.0, -1.0, -1.0])  # OpenCV's y points down and its z away from the camera
    model = _CANONICAL @ flip
    _, turn, shift = cv2.solvePnP(
        model[:KEYPOINTS], np.asarray(keypoints, np.float64), camera, None, flags=cv2.SOLVEPNP_SQPNP
    )
    projected, _ = cv2.projectPoints(model, turn, shift, camera, None)
    points = projected.reshape(-1, 2).astype(np.float32)
    points[:KEYPOINTS] = keypoints
    return points, flip @ np.asarray(cv2.Rodrigues(turn)[0]) @ flip
