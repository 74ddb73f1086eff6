"""AWS shapes made of what vision and store give: ratios for pixels, members for fields."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.store import faces as stored
from regard.vision.attributes import Answer
from regard.vision.faces import LANDMARKS, Face
from regard.vision.geometry import Box

DEFAULT_LANDMARKS = 5  # of 30, those that AWS gives without ALL

# The attributes beyond the default ones: AWS's name in a request, member of FaceDetail, field of `Face`.
ANSWERS = (
    ("SMILE", "Smile", "smile"),
    ("EYEGLASSES", "Eyeglasses", "eyeglasses"),
    ("SUNGLASSES", "Sunglasses", "sunglasses"),
    ("BEARD", "Beard", "beard"),
    ("MUSTACHE", "Mustache", "mustache"),
    ("EYES_OPEN", "EyesOpen", "eyes_open"),
    ("MOUTH_OPEN", "MouthOpen", "mouth_open"),
    ("FACE_OCCLUDED", "FaceOccluded", "face_occluded"),
)
ATTRIBUTES = frozenset({name for name, _, _ in ANSWERS} | {"AGE_RANGE", "GENDER", "EMOTIONS", "EYE_DIRECTION"})


MEMBERS = {name: member for name, member, _ in ANSWERS} | {
    "AGE_RANGE": "AgeRange",
    "GENDER": "Gender",
    "EMOTIONS": "Emotions",
    "EYE_DIRECTION": "EyeDirection",
}
"""The member of FaceDetail that an attribute is given in."""


def wanted(attributes: list[str] | None, withheld: frozenset[str] = frozenset()) -> tuple[frozenset[str], int]:
    """The attributes to compute and the number of landmarks to give, for a request's `Attributes`."""
    names = frozenset(attributes or ())
    if "ALL" in names:
        return ATTRIBUTES - withheld, len(LANDMARKS)
    return (names & ATTRIBUTES) - withheld, DEFAULT_LANDMARKS


def ratios(box: Box, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Left, top, width and height of a box as ratios of the picture's width and height."""
    width, height = size
    return box.left / width, box.top / height, box.width / width, box.height / height


def as_sent(numbers: NDArray[np.float64]) -> list[float]:
    """Numbers as the float32 values that clients get, which is what a threshold must be held against."""
    return [float(number) for number in numbers.astype(np.float32)]


def sent(number: float) -> float:
    """One such number."""
    return float(np.float32(number))


def bounding_box(box: tuple[float, float, float, float]) -> dict[str, float]:
    """A BoundingBox from left, top, width and height as ratios."""
    left, top, width, height = box
    return {"Width": width, "Height": height, "Left": left, "Top": top}


def without(face: Face, attributes: frozenset[str]) -> Face:
    """The face without attributes that were computed for something else than the answer."""
    gone: dict[str, Any] = {name.lower(): None for name in attributes}
    return replace(face, **gone)


def face_detail(face: Face, size: tuple[int, int], landmarks: int = DEFAULT_LANDMARKS) -> dict[str, Any]:
    """A FaceDetail, or with the default landmarks alone a ComparedFace."""
    width, height = size
    detail: dict[str, Any] = {
        "BoundingBox": bounding_box(ratios(face.detection.box, size)),
        "Confidence": face.detection.confidence,
        "Landmarks": [
            {"Type": name, "X": x / width, "Y": y / height}
            for name, (x, y) in zip(LANDMARKS[:landmarks], face.landmarks.tolist(), strict=False)
        ],
        "Pose": {"Roll": face.pose.roll, "Yaw": face.pose.yaw, "Pitch": face.pose.pitch},
        "Quality": {"Brightness": face.quality.brightness, "Sharpness": face.quality.sharpness},
    }
    if face.age_range is not None:
        detail["AgeRange"] = {"Low": face.age_range[0], "High": face.age_range[1]}
    if face.gender is not None:
        detail["Gender"] = {"Value": face.gender.value, "Confidence": face.gender.confidence}
    for _, member, field in ANSWERS:
        answer: Answer[bool] | None = getattr(face, field)
        if answer is not None:
            detail[member] = {"Value": answer.value, "Confidence": answer.confidence}
    if face.emotions is not None:
        detail["Emotions"] = [{"Type": name, "Confidence": confidence} for name, confidence in face.emotions]
    if face.eye_direction is not None:
        look = face.eye_direction
        detail["EyeDirection"] = {"Yaw": look.yaw, "Pitch": look.pitch, "Confidence": look.confidence}
    return detail


def face(row: stored.Face) -> dict[str, Any]:
    """A Face from what a collection keeps."""
    return {
        "FaceId": str(row.face_id),
        "BoundingBox": bounding_box(row.box),
        "ImageId": str(row.image_id),
        "ExternalImageId": row.external_image_id,
        "Confidence": row.confidence,
        "UserId": row.user_id,
    }


def model_number(face_model_version: str) -> str:
    """The IndexFacesModelVersion of a face model, which AWS lets be digits and dots alone."""
    return re.sub(r"[^0-9.]", "", face_model_version.rpartition("-")[2]) or "0"
