"""The engines of `vision`, answering from the cluster. What of them is data and no network is here."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from ray.serve.handle import DeploymentHandle

from regard.cluster.asking import Pictures, ask
from regard.settings import Capability, Settings
from regard.vision.engines import Engines
from regard.vision.equipment import EquipmentEngine
from regard.vision.faces import FaceEngine, Yardstick
from regard.vision.labels import Label
from regard.vision.moderation import Moderator
from regard.vision.objects import ObjectEngine
from regard.vision.tags import Tagger
from regard.vision.text import TextReader

DEPLOYED: Mapping[str, Capability] = {
    "faces": "faces",
    "objects": "labels",
    "tags": "labels",
    "text": "text",
    "moderation": "moderation",
    "equipment": "equipment",
}
"""Which capability's replicas answer for an engine. The detector of shots is asked by parts of jobs alone, and those
have networks of their own (`work`)."""

Ask = Callable[..., Any]


class RemoteEngine:
    """An engine elsewhere: each of its methods that takes a picture can be called here."""

    def __init__(self, asked: Ask, name: str) -> None:
        self._asked, self._name = asked, name

    def __getattr__(self, method: str) -> Ask:
        if method.startswith("_"):
            raise AttributeError(method)
        return partial(self._asked, f"{self._name}.{method}")


class RemoteFaceEngine(RemoteEngine):
    """The networks for faces elsewhere, and here what their embeddings mean."""

    def __init__(self, asked: Ask, yardstick: Yardstick) -> None:
        super().__init__(asked, "faces")
        self.model_version, self.comparison = yardstick.model_version, yardstick.comparison
        self.similarity = yardstick.similarity

    def compare(self, probes: NDArray[np.float32], references: NDArray[np.float32]) -> NDArray[np.float64]:
        return self.comparison.scores(probes, references)


class RemoteEngines(Engines):
    """As `Engines`, for a front that loads no network: one question per picture and engine."""

    def __init__(self, settings: Settings, handles: Mapping[str, DeploymentHandle[Any]]) -> None:
        super().__init__(settings)
        self._handles = handles
        self._pictures = Pictures()
        self._faces = RemoteFaceEngine(partial(self._ask, DEPLOYED["faces"]), Yardstick.load(settings))

    @property
    def faces(self) -> FaceEngine:
        return cast(FaceEngine, self._faces)

    @property
    def objects(self) -> ObjectEngine:
        return cast(ObjectEngine, self._engine("objects"))

    @property
    def tags(self) -> Tagger:
        return cast(Tagger, self._engine("tags"))

    @property
    def moderation(self) -> Moderator:
        return cast(Moderator, self._engine("moderation"))

    @property
    def equipment(self) -> EquipmentEngine:
        return cast(EquipmentEngine, self._engine("equipment"))

    @property
    def text(self) -> TextReader:
        return cast(TextReader, self._engine("text"))

    def labels(self, image: NDArray[np.uint8]) -> list[Label]:
        return cast("list[Label]", self._ask("labels", "labels", image))

    def load(self, capabilities: Iterable[Capability]) -> None:
        """`deployments.deploy` has seen to it."""

    def _engine(self, name: str) -> RemoteEngine:
        return RemoteEngine(partial(self._ask, DEPLOYED[name]), name)

    def _ask(self, capability: Capability, question: str, image: NDArray[np.uint8], *args: Any, **named: Any) -> Any:
        return ask(self._handles[capability], question, self._pictures.shared(image), *args, **named)
