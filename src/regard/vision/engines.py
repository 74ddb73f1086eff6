"""The networks of every capability, each loaded when it is first asked for and then kept.

Memory and start-up time belong to what is used: a server that only compares faces loads nothing else.
`REGARD_PRELOAD` names what to load at start.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.settings import Capability, Settings
from regard.vision import labels
from regard.vision.equipment import EquipmentEngine
from regard.vision.faces import FaceEngine
from regard.vision.labels import Label
from regard.vision.models import ModelError
from regard.vision.moderation import Moderator
from regard.vision.objects import ObjectEngine
from regard.vision.session import DeviceUnavailable, require
from regard.vision.shots import ShotDetector
from regard.vision.spreading import Spreader
from regard.vision.tags import Tagger
from regard.vision.text import TextReader

EngineT = TypeVar("EngineT")

NETWORKS: Mapping[Capability, tuple[str, ...]] = {
    "faces": ("faces",),
    "labels": ("faces", "objects", "tags", "text"),
    "text": ("text",),
    "moderation": ("moderation",),
    "equipment": ("equipment",),
}
"""The properties of `Engines` that a capability uses; those that an engine is made of come with it."""


class Engines:
    """Any number of threads may use it at once; an engine that two ask for first is loaded once.

    Every property raises `models.ModelError` if a network is missing or an owner's is unusable.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises `models.ModelError` if networks cannot run on the device that the settings name."""
        try:
            require(settings.device)
        except DeviceUnavailable as error:
            raise ModelError(str(error)) from error
        cv2.setNumThreads(settings.threads)  # of one resize; OpenCV would take all cores of the machine
        self.settings = settings
        self.spreader = Spreader(settings.threads, "engines")  # of what is asked of several engines at once
        self._loaded: dict[Callable[[Settings], Any], Any] = {}
        self._loading = threading.RLock()

    @property
    def faces(self) -> FaceEngine:
        return self._once(FaceEngine.load)

    @property
    def objects(self) -> ObjectEngine:
        return self._once(ObjectEngine.load)

    @property
    def tags(self) -> Tagger:
        return self._once(Tagger.load)

    @property
    def moderation(self) -> Moderator:
        return self._once(self._load_moderation)

    @property
    def equipment(self) -> EquipmentEngine:
        return self._once(self._load_equipment)

    @property
    def shots(self) -> ShotDetector:
        return self._once(ShotDetector.load)

    @property
    def text(self) -> TextReader:
        return self._once(TextReader.load)

    def labels(self, image: NDArray[np.uint8]) -> list[Label]:
        """The labels of a picture, RGB uint8 [h, w, 3], by several engines together: see `labels.find`."""
        return labels.find(self, image)

    def load(self, capabilities: Iterable[Capability]) -> None:
        """Load the networks of capabilities now."""
        for capability in capabilities:
            for name in NETWORKS[capability]:
                getattr(self, name)

    def _load_moderation(self, settings: Settings) -> Moderator:
        return Moderator.load(settings, self.tags)

    def _load_equipment(self, settings: Settings) -> EquipmentEngine:
        return EquipmentEngine.load(settings, self.faces, self.objects)

    def _once(self, load: Callable[[Settings], EngineT]) -> EngineT:
        found = self._loaded.get(load)
        if found is None:
            with self._loading:
                found = self._loaded.get(load)
                if found is None:
                    found = self._loaded[load] = load(self.settings)
        return cast(EngineT, found)
