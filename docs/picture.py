"""Draw the README's picture from the demo's photos.

python docs/picture.py
"""

from pathlib import Path

import numpy as np
from PIL import Image

from regard.drawing import draw
from regard.look import face_marks
from regard.media.images import decode
from regard.operations.shapes import ATTRIBUTES
from regard.settings import settings
from regard.vision import models
from regard.vision.faces import FaceEngine

HEIGHT = 560
# Of each photo, the part that is shown: left, top, right and bottom as shares of it.
PARTS = {"biden": (0.0, 0.0, 1.0, 0.72), "astronaut": (0.16, 0.0, 0.78, 0.72), "obama2": (0.16, 0.08, 1.0, 0.62)}


def main() -> None:
    engine, photos, panels = FaceEngine.load(settings()), models.photos(settings().cache), []
    for name, (left, top, right, bottom) in PARTS.items():
        photo = Image.fromarray(decode(photos[name].read_bytes()))
        part = photo.crop(
            (int(left * photo.width), int(top * photo.height), int(right * photo.width), int(bottom * photo.height))
        )
        image = np.array(part.resize((part.width * HEIGHT // part.height, HEIGHT), Image.Resampling.LANCZOS))
        panels.append(draw(image, face_marks(engine.describe(image, engine.detect(image), ATTRIBUTES))))
    picture = Image.fromarray(np.concatenate(panels, axis=1)).quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
    picture.save(Path(__file__).with_name("faces.png"), optimize=True)


if __name__ == "__main__":
    main()
