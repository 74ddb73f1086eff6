"""Draw the known failures that the cards of the face networks show, from the demo's photos.

python docs/failures.py

What stands in a picture is what the networks say at the time; look at the pictures before you commit them.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regard.drawing import PALETTE, Mark, draw
from regard.media.images import decode
from regard.settings import settings
from regard.vision import models
from regard.vision.faces import Face, FaceEngine
from regard.vision.geometry import Box

Picture = NDArray[np.uint8]

HEIGHT = 300
MARGIN = 0.45  # of the face's height, around it
HIDDEN = (92, 104, 120)
PEOPLE = ("obama", "obama2", "obama3", "biden", "astronaut", "hopper")
WANTED = frozenset({"GENDER", "FACE_OCCLUDED"})


def main() -> None:
    engine = FaceEngine.load(settings())
    photos = models.photos(settings().cache)
    portraits = {name: _portrait(engine, decode(photos[name].read_bytes())) for name in PEOPLE}
    save("face_attributes", [_gender(engine, portraits["hopper"]), _gender(engine, portraits["astronaut"])])
    save("face_mesh", [_points(engine, _cover(engine, portraits[name], RIGHT)) for name in ("obama", "astronaut")])
    save("yunet", [_found(engine, _beside(portraits["obama"], np.rot90(portraits["biden"])))])
    same = portraits["obama3"]
    probes = [_cover(engine, same, RIGHT), _cover(engine, same, EYES), cv2.GaussianBlur(same, (0, 0), 6)]
    save("sface", _compared(engine, portraits["obama2"], [np.asarray(probe, np.uint8) for probe in probes]))


# What is hidden of a face, as shares of its box: left, top, right, bottom.
RIGHT = (0.5, -0.1, 1.15, 1.1)
EYES = (-0.1, 0.15, 1.1, 0.48)


def save(name: str, panels: Sequence[Picture]) -> None:
    picture = Image.fromarray(np.concatenate([*panels], axis=1))
    picture.save(models.WEIGHTS / name / "failures.jpg", quality=84, optimize=True)


def _portrait(engine: FaceEngine, photo: Picture) -> Picture:
    """The part of a photo around its largest face, `HEIGHT` pixels high."""
    box = engine.detect(photo)[0].box
    margin = MARGIN * box.height
    left, top = max(0, round(box.left - margin)), max(0, round(box.top - margin))
    part = photo[top : round(box.top + box.height + margin), left : round(box.left + box.width + margin)]
    return _high(part)


def _high(picture: Picture) -> Picture:
    size = (picture.shape[1] * HEIGHT // picture.shape[0], HEIGHT)
    return np.array(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def _cover(engine: FaceEngine, picture: Picture, part: tuple[float, float, float, float]) -> Picture:
    """The picture with a part of its face hidden."""
    box, covered = engine.detect(picture)[0].box, picture.copy()
    left, top, right, bottom = part
    rows = slice(round(max(box.top + top * box.height, 0)), round(box.top + bottom * box.height))
    columns = slice(round(max(box.left + left * box.width, 0)), round(box.left + right * box.width))
    covered[rows, columns] = HIDDEN
    return covered


def _beside(first: Picture, second: Picture) -> Picture:
    return np.concatenate([first, _high(np.ascontiguousarray(second))], axis=1)


def _describe(engine: FaceEngine, picture: Picture) -> list[Face]:
    return engine.describe(picture, engine.detect(picture), WANTED)


def _found(engine: FaceEngine, picture: Picture) -> Picture:
    faces = _describe(engine, picture)
    return draw(picture, [_mark(face, f"face {face.detection.confidence:.0f} %") for face in faces])


def _gender(engine: FaceEngine, picture: Picture) -> Picture:
    (face,) = _describe(engine, picture)
    return draw(
        picture, [_mark(face, *(f"{said.value.lower()} {said.confidence:.0f} %" for said in [face.gender] if said))]
    )


def _points(engine: FaceEngine, picture: Picture) -> Picture:
    (face,) = _describe(engine, picture)
    lines = [f"a face: {100 * face.presence:.0f} %"]
    if face.face_occluded:
        said = "covered" if face.face_occluded.value else "not covered"
        lines.append(f"{said} {face.face_occluded.confidence:.0f} %")
    return draw(picture, [_mark(face, *lines, points=np.asarray(face.landmarks, np.float64))])


def _compared(engine: FaceEngine, reference: Picture, probes: Sequence[Picture]) -> list[Picture]:
    """The reference, then each probe with its Similarity."""
    embedded = engine.embed(reference, _describe(engine, reference)[:1])
    panels = [draw(reference, [_mark(_describe(engine, reference)[0], "compared with")])]
    for probe in probes:
        (face,) = _describe(engine, probe)
        similarity = engine.similarity.similarity(engine.compare(engine.embed(probe, [face]), embedded))[0, 0]
        panels.append(draw(probe, [_mark(face, f"Similarity {similarity:.0f}")]))
    return panels


def _mark(face: Face, *lines: str, points: NDArray[np.float64] | None = None) -> Mark:
    box: Box = face.detection.box
    return Mark(box, np.empty((0, 2)) if points is None else points, lines, PALETTE[1])


if __name__ == "__main__":
    main()
