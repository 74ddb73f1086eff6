"""What the frames of a video show, in labels: `labels.find`, made cheap enough to be asked twice a second.

The things in a frame and what it shows as a whole are looked for in every frame that is not the same as the last,
by one look of each detector. Faces and text are costly and seldom come and go: what they show holds for two seconds
unless the picture is another, and faces only while people are seen.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regard.vision import labels
from regard.vision.engines import Engines
from regard.vision.labels import Label
from regard.vision.objects import Instance
from regard.vision.still import Held, Still, thumbnail

HOLDS_MS = 2000


class LabelWatcher:
    """Names what the frames of one video show, in order; for one thread."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._still = Still[list[Label]]()
        self._faces, self._text = Held[dict[str, float]](HOLDS_MS), Held[float](HOLDS_MS)

    def look(self, image: NDArray[np.uint8], luminance: NDArray[np.uint8], time_ms: int) -> list[Label]:
        """The labels of a frame, RGB [h, w, 3] and its luminance [h, w], most confident first.

        Raises `models.ModelError`.
        """
        now = thumbnail(luminance)

        def name() -> list[Label]:
            things = self._engines.objects.glance(image)
            tags = self._engines.tags.read(image).tags
            seen: dict[str, float] = {}
            if labels.people(things):
                seen |= self._faces.see(time_ms, now, lambda: self._look_at_faces(image, things))
            if text := self._text.see(time_ms, now, lambda: self._engines.text.glance(image)):
                seen["text:text"] = text
            return labels.merge(things, labels.believed(tags, things), seen)

        return self._still.see(now, name)

    def _look_at_faces(self, image: NDArray[np.uint8], things: Sequence[Instance]) -> dict[str, float]:
        engine = self._engines.faces
        return labels.faces(engine, image, labels.small_faces(engine, image), things)
