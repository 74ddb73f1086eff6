"""Pictures of results: boxes, landmarks and captions drawn over a photo.

People judge a recognition system by looking at what it found; the tour and the README show these pictures.
"""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from rich.text import Text

from regard.drawing import PALETTE, Mark, draw
from regard.media.images import ImageError, decode
from regard.vision.attributes import ATTRIBUTES
from regard.vision.faces import Face, FaceEngine

# What a caption mentions where it is seen, and the confidence that it takes to mention it, or a gender.
TRAITS = ("smile", "eyeglasses", "sunglasses", "beard", "mustache")
TOLD = (*TRAITS, "eyes_open", "mouth_open", "face_occluded")
SURE = 90.0


def look_at(engine: FaceEngine, photo: Path, out: Path, console: Console) -> bool:
    """Tell what is seen in the faces of a photo and draw it into the folder `out`; False for no picture."""
    try:
        image = decode(photo.read_bytes())
    except (OSError, ImageError) as error:
        console.print(Text(f"{photo}: {error}", style="red"))
        return False
    faces = engine.describe(image, engine.detect(image), frozenset(ATTRIBUTES))
    drawn = out / f"{photo.stem}-faces.png"
    Image.fromarray(annotate(image, faces)).save(drawn)
    console.print(Text(f"{photo}: {len(faces)} faces, drawn in {drawn}", style="bold"))
    if faces:
        console.print(_table(faces))
    return True


def _table(faces: Sequence[Face]) -> Table:
    """What is known of each face, the largest first; confidences in percent."""
    table = Table("Face", "Pixels", "Age", "Gender", "Expression", "Seen", "Roll, yaw, pitch", "Bright, sharp")
    for face in faces:
        box, turned = face.detection.box, face.pose
        seen = (
            f"{name.replace('_', ' ')} {answer.confidence:.0f}"
            for name in TOLD
            if (answer := getattr(face, name)) and answer.value
        )
        table.add_row(
            f"{face.detection.confidence:.1f}",
            f"{box.width:.0f}×{box.height:.0f}",
            f"{face.age_range[0]}-{face.age_range[1]} years" if face.age_range else "",
            f"{face.gender.value} {face.gender.confidence:.0f}" if face.gender else "",
            f"{face.emotions[0][0].lower()} {face.emotions[0][1]:.0f}" if face.emotions else "",
            ", ".join(seen),
            f"{round(turned.roll)}°, {round(turned.yaw)}°, {round(turned.pitch)}°",
            f"{face.quality.brightness:.0f}, {face.quality.sharpness:.0f}",
        )
    return table


def annotate(image: NDArray[np.uint8], faces: Sequence[Face]) -> NDArray[np.uint8]:
    """A copy of `image` [h, w, 3] RGB with the faces found in it, each captioned with what is known of it."""
    return draw(
        image,
        [
            Mark(face.detection.box, np.asarray(face.landmarks, np.float64), _caption_of(face), colour)
            for face, colour in zip(faces, cycle(PALETTE), strict=False)
        ],
    )


def _caption_of(face: Face) -> tuple[str, ...]:
    return caption(
        face.detection.confidence,
        age_range=face.age_range,
        gender=face.gender.value if face.gender and face.gender.confidence >= SURE else None,
        emotion=max(face.emotions, key=lambda emotion: emotion[1])[0] if face.emotions else None,
        traits=[
            name for name in TRAITS if (answer := getattr(face, name)) and answer.value and answer.confidence >= SURE
        ],
    )


def caption(
    confidence: float,
    *,
    age_range: tuple[int, int] | None = None,
    gender: str | None = None,
    emotion: str | None = None,
    traits: Sequence[str] = (),
) -> tuple[str, ...]:
    """The lines of text for a face: `confidence` in percent, then what is known of its looks."""
    age = f"{age_range[0]}-{age_range[1]} years" if age_range else None
    looks = (age, gender and gender.lower(), emotion and emotion.lower())
    lines = (f"face {confidence:.1f} %", ", ".join(filter(None, looks)), ", ".join(traits))
    return tuple(filter(None, lines))
