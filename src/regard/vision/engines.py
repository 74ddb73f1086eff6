"""The networks of every capability, each loaded when it is first asked for and then kept.

Memory and start-up time belong to what is used: a server that only compares faces loads nothing else.
`REGARD_PRELOAD` names what to load at start.
"""

import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

from regard.settings import Settings
from regard.vision.faces import FaceEngine

EngineT = TypeVar("EngineT")


class Engines:
    """Any number of threads may use it at once; an engine that two ask for first is loaded once.

    Every property raises `models.ModelError` if a network is missing or an owner's is unusable.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._loaded: dict[Callable[[Settings], Any], Any] = {}
        self._loading = threading.RLock()

    @property
    def faces(self) -> FaceEngine:
        return self._once(FaceEngine.load)

    def load(self, names: tuple[str, ...]) -> None:
        """Load capabilities by the names of their properties now."""
        for name in names:
            getattr(self, name)

    def _once(self, load: Callable[[Settings], EngineT]) -> EngineT:
        found = self._loaded.get(load)
        if found is None:
            with self._loading:
                found = self._loaded.get(load)
                if found is None:
                    found = self._loaded[load] = load(self.settings)
        return cast(EngineT, found)
