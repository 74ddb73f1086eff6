"""Everything about faces in one place: find them, describe them, embed them.

The engine holds the networks and decides which of them run for what is asked; each network has its own
module.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.settings import Settings
from regard.vision import landmarks, models, pose, quality
from regard.vision.attributes import ATTRIBUTES, Answer, AttributeNetwork, EyeDirection
from regard.vision.cohort import Cohort, Comparison
from regard.vision.detection import Detection, Detector, yunet
from regard.vision.embedding import Embedder, own_name, sface
from regard.vision.landmarks import LANDMARKS as LANDMARKS
from regard.vision.mesh import Mesh, MeshNetwork
from regard.vision.models import DetectorDescription, EmbedderDescription, ModelError
from regard.vision.pose import Pose
from regard.vision.quality import Quality
from regard.vision.similarity import UNCALIBRATED, Similarity, load_calibration
from regard.vision.spreading import Spreader

SFACE = "sface-1.0"
PRESENT = 0.5  # the mesh network's probability of a face, below which its points are worse than five keypoints

RETRY_DEGREES = 5.0  # the mesh is as good within this of level eyes


@dataclass(frozen=True, slots=True)
class Face:
    """A face and what is known of it; positions in pixels of the picture.

    `landmarks` float32 [30, 2] are named by `LANDMARKS`. `keypoints` float32 [5, 2] are what the embedder
    aligns the face by. `presence` 0–1 is the mesh network's
    probability that there is a face; a strong profile or a hidden face has a low one. The rest is None unless
    it was asked for.
    """

    detection: Detection
    keypoints: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    pose: Pose
    quality: Quality
    presence: float
    age_range: tuple[int, int] | None = None
    smile: Answer[bool] | None = None
    eyeglasses: Answer[bool] | None = None
    sunglasses: Answer[bool] | None = None
    gender: Answer[str] | None = None
    beard: Answer[bool] | None = None
    mustache: Answer[bool] | None = None
    eyes_open: Answer[bool] | None = None
    mouth_open: Answer[bool] | None = None
    emotions: tuple[tuple[str, float], ...] | None = None
    face_occluded: Answer[bool] | None = None
    eye_direction: EyeDirection | None = None


@dataclass(frozen=True, slots=True)
class FaceEngine:
    """The networks for faces. Any number of threads may use it at once.

    Pictures are RGB uint8 [h, w, 3].
    """

    detector: Detector
    mesh: MeshNetwork
    attributes: AttributeNetwork
    embedder: Embedder
    comparison: Comparison
    similarity: Similarity
    spreader: Spreader = field(repr=False)

    @classmethod
    def load(cls, settings: Settings, *, calibrated: bool = True) -> "FaceEngine":
        """Compile every network. Raises `models.ModelError` if one is missing or an owner's is unusable.

        An engine that is not `calibrated` yet may lack calibration and cohort; its Similarity means nothing.
        """
        cache, compiled = settings.cache, settings.cache / "compiled"
        description = _embedder_description(settings)
        embedder = _embedder(settings, description)
        comparison = _comparison(description, required=calibrated)
        similarity = _similarity(settings, description, embedder.name, comparison) if calibrated else UNCALIBRATED
        detector = Detector(_detector(settings), threads=settings.threads, device=settings.device, cache=compiled)
        try:
            return cls(
                detector,
                MeshNetwork(
                    models.path("face_mesh", cache), threads=settings.threads, device=settings.device, cache=compiled
                ),
                AttributeNetwork(
                    models.path("face_attributes", cache),
                    threads=settings.threads,
                    device=settings.device,
                    cache=compiled,
                ),
                embedder,
                comparison,
                similarity,
                Spreader(settings.threads, "faces"),
            )
        except RuntimeError as error:
            raise ModelError(f"a network cannot be read, see `regard models verify`: {error}") from error

    @property
    def model_version(self) -> str:
        """Which embedder made an embedding; those of another version must not be compared with it."""
        return self.embedder.name

    def detect(self, image: NDArray[np.uint8]) -> list[Detection]:
        """The faces in a picture, the largest first."""
        return self.detector.detect(image)

    def describe(self, image: NDArray[np.uint8], detections: Sequence[Detection], wanted: frozenset[str]) -> list[Face]:
        """Each detection with landmarks, pose and quality, and the `wanted` attributes.

        `wanted` are names of Rekognition's `Attribute` other than ALL and DEFAULT, else `KeyError`.
        """
        asked = [ATTRIBUTES[name] for name in sorted(wanted)]
        return self.spreader.each(lambda detection: self._describe(image, detection, asked), detections)

    def find(self, image: NDArray[np.uint8], wanted: frozenset[str], limit: int | None = None) -> list[Face]:
        """The faces in a picture, the largest first and at most `limit`, each described with what is `wanted`."""
        return self.describe(image, self.detect(image)[:limit], wanted)

    def embed(self, image: NDArray[np.uint8], faces: Sequence[Detection | Face]) -> NDArray[np.float32]:
        """Embeddings float32 [n, d] of length 1; `compare` gives their scores.

        A `Face` spares finding its mesh again.
        """

        def embed(face: Detection | Face) -> NDArray[np.float32]:
            points = face.keypoints if isinstance(face, Face) else _keypoints(face, self._find(image, face))
            return self.embedder.embed(image, points)

        return np.array(self.spreader.each(embed, faces), np.float32).reshape(-1, self.embedder.dimension)

    def compare(self, probes: NDArray[np.float32], references: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores [n, m] of embeddings [n, d] with embeddings [m, d]; `similarity` says what they mean."""
        return self.comparison.scores(probes, references)

    def _find(self, image: NDArray[np.uint8], detection: Detection) -> Mesh:
        """The mesh; found again from its own keypoints where they say that the face is tilted otherwise.

        Detectors place keypoints badly on tilted faces.
        """
        mesh = self.mesh.find(image, detection.box, detection.keypoints)
        own = _of_mesh(mesh)
        if mesh.presence < PRESENT or abs(_tilt(own) - _tilt(detection.keypoints)) < RETRY_DEGREES:
            return mesh
        return self.mesh.find(image, detection.box, own)

    def _describe(self, image: NDArray[np.uint8], detection: Detection, asked: Sequence[Any]) -> Face:
        mesh = self._find(image, detection)
        keypoints = _keypoints(detection, mesh)
        if mesh.presence >= PRESENT:
            points, turned = landmarks.from_mesh(mesh), pose.rotation(mesh)
        else:
            points, turned = landmarks.from_keypoints(detection.keypoints)
        reading = self.attributes.read(image, keypoints) if asked else None
        return Face(
            detection,
            keypoints,
            points,
            pose.pose(turned),
            quality.quality(image, keypoints),
            mesh.presence,
            **{field: rule(reading, mesh) for field, rule in asked},
        )


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What of an engine is data and no network: which embeddings it makes, and what their scores mean."""

    model_version: str
    comparison: Comparison
    similarity: Similarity

    @classmethod
    def load(cls, settings: Settings) -> "Yardstick":
        """That of the engine that these settings load. Raises `models.ModelError`."""
        description = _embedder_description(settings)
        name, comparison = _name(settings, description), _comparison(description, required=True)
        return cls(name, comparison, _similarity(settings, description, name, comparison))


def _tilt(keypoints: NDArray[Any]) -> float:
    """Degrees by which the line from eye to eye is turned clockwise."""
    x, y = keypoints[1] - keypoints[0]
    return float(np.degrees(np.arctan2(y, x)))


def _of_mesh(mesh: Mesh) -> NDArray[np.float32]:
    return landmarks.from_mesh(mesh)[: landmarks.KEYPOINTS]


def _keypoints(detection: Detection, mesh: Mesh) -> NDArray[np.float32]:
    """The mesh's; where no face was surely found, as in profile, the mean with the detector's is better."""
    if mesh.presence >= PRESENT:
        return _of_mesh(mesh)
    return np.asarray((detection.keypoints + _of_mesh(mesh)) / 2, np.float32)


def _detector(settings: Settings) -> DetectorDescription:
    if settings.detector is None:
        return yunet(settings.cache)
    description = models.load_description(settings.detector)
    if not isinstance(description, DetectorDescription):
        raise ModelError(f"{settings.detector}: task: it describes no detector")
    return description


def _embedder_description(settings: Settings) -> EmbedderDescription:
    if settings.embedder is None:
        return sface(settings.cache)
    description = models.load_description(settings.embedder)
    if not isinstance(description, EmbedderDescription):
        raise ModelError(f"{settings.embedder}: task: it describes no embedder")
    return description


def _embedder(settings: Settings, description: EmbedderDescription) -> Embedder:
    threads, device, compiled = settings.threads, settings.device, settings.cache / "compiled"
    name = _name(settings, description)
    if settings.embedder is None:
        # bf16 changes neither LFW nor CFP by more than a pair or two in a thousand.
        return Embedder(description, name=name, threads=threads, device=device, precision="bf16", cache=compiled)
    return Embedder(description, name=name, threads=threads, device=device, cache=compiled)


def _name(settings: Settings, description: EmbedderDescription) -> str:
    return SFACE if settings.embedder is None else own_name(description.network)


def _comparison(description: EmbedderDescription, *, required: bool) -> Comparison:
    file = description.cohort
    return Comparison(None if file is None or not (required or file.exists()) else Cohort.load(file))


def _similarity(settings: Settings, description: EmbedderDescription, name: str, comparison: Comparison) -> Similarity:
    """The calibration that the settings or else the description name, or the description's own points.

    Raises `models.ModelError` if there is none or it was made for another embedder or another cohort.
    """
    file = settings.calibration or description.calibration
    if file is not None:
        return load_calibration(file, name, None if comparison.cohort is None else comparison.cohort.name)
    try:
        return Similarity(description.similarity)
    except ValueError as error:
        raise ModelError(f"{settings.embedder}: similarity: {error}") from error
