"""How two embeddings are compared: by their cosine, measured from how crowded the place of each is.

One threshold on the cosine treats people unequally: where an embedder has seen few faces of a kind, it places
them close together, and strangers among them match. A cohort of faces that nobody is searched among shows how
crowded the place of an embedding is: adaptive symmetric score normalisation (Matějka et al. 2017, "Analysis of
Score Normalization in Multilingual Speaker Recognition"), with the distance from the cohort to the face itself
in place of the cohort's deviation. It needs no demographic label, neither to build nor to use it.

A cohort is no store of people: it holds the centres of clusters of several faces each.
"""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from regard.vision.models import ModelError

# Chosen by the evaluation `score-normalisation`, on faces that the cohort was not made of.
CLUSTERS = 384
MEMBERS = 3  # a cluster of fewer faces could stand for one person and is left out
NEAREST = 3

FloatT = TypeVar("FloatT", np.float32, np.float64)

_CROWDED = 0.9  # no place counts as more crowded: scores there would have no bound
_AT_ONCE = 256  # embeddings whose cosines are worked out together, so that they stay in the processor's cache
_ROUNDS = 25
_SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """`centres` float32 [k, d] of about length one, and how many of the `nearest` to a face are looked at."""

    centres: NDArray[np.float32]
    nearest: int

    @classmethod
    def load(cls, path: Path) -> "Cohort":
        """Read a cohort's file: NumPy's .npz with `centres` [k, d] and `nearest`.

        Raises `models.ModelError` if it cannot be read or is no cohort.
        """
        try:
            with path.open("rb") as opened, np.load(opened) as file:
                centres, nearest = np.asarray(file["centres"], np.float32), int(file["nearest"])
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise ModelError(f"{path} is no cohort: {error}") from error
        if centres.ndim != 2 or not 1 <= nearest <= len(centres) or not np.isfinite(centres).all():
            raise ModelError(f"{path} is no cohort: centres {centres.shape}, nearest {nearest}")
        return cls(centres, nearest)

    def save(self, path: Path) -> None:
        """Write the file that `load` reads, in half precision."""
        with path.open("wb") as file:
            np.savez(file, centres=self.centres.astype(np.float16), nearest=np.array(self.nearest))

    @property
    def name(self) -> str:
        """What identifies it: the start of a SHA-256 of what it holds."""
        return hashlib.sha256(self.centres.astype("<f2").tobytes() + bytes([self.nearest])).hexdigest()[:12]

    def crowding(
        self,
        embeddings: NDArray[np.float32],
        precision: type[FloatT] = np.float64,  # type: ignore[assignment]
    ) -> NDArray[FloatT]:
        """How crowded the place of each embedding [n, d] is, −1–0.9: the mean of the cosines with the nearest."""
        centres = self.centres.astype(precision)
        total = np.zeros(len(embeddings), precision)
        for start in range(0, len(embeddings), _AT_ONCE):
            cosines = embeddings[start : start + _AT_ONCE].astype(precision) @ centres.T
            rows = np.arange(len(cosines))
            for _ in range(self.nearest):  # of so few, faster than a partition
                nearest = cosines.argmax(1)
                total[start : start + _AT_ONCE] += cosines[rows, nearest]
                cosines[rows, nearest] = -np.inf
        return np.asarray(np.minimum(total / self.nearest, _CROWDED))


def build(
    embeddings: NDArray[np.float32], clusters: int = CLUSTERS, nearest: int = NEAREST, members: int = MEMBERS
) -> Cohort:
    """A cohort of `embeddings` [n, d] of length one, each of another person; the same for the same faces.

    Spherical k-means (Dhillon and Modha 2001); clusters of fewer than `members` faces are left out. Raises
    `ValueError` where fewer than `nearest` clusters remain.
    """
    random = np.random.default_rng(_SEED)
    faces = np.asarray(embeddings, np.float64)
    if len(faces) < clusters:
        raise ValueError(f"{len(faces)} faces cannot be put into {clusters} clusters")
    centres = faces[random.choice(len(faces), clusters, replace=False)]
    for _ in range(_ROUNDS):
        sums = np.zeros_like(centres)
        own = (faces @ centres.T).argmax(1)
        np.add.at(sums, own, faces)
        empty = ~sums.any(1)
        sums[empty] = faces[random.choice(len(faces), int(empty.sum()))]
        centres = _normalised(sums)
    counts = np.bincount((faces @ centres.T).argmax(1), minlength=clusters)
    kept = centres[counts >= members].astype(np.float16).astype(np.float32)  # as they will be in the file
    if len(kept) < nearest:
        raise ValueError(f"of {clusters} clusters only {len(kept)} hold {members} of the {len(faces)} faces or more")
    return Cohort(kept, nearest)


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The score of two embeddings a and b: (a·b − (mₐ + m_b)/2) / √((1 − mₐ)(1 − m_b)), with m their crowding.

    It is 1 for a face with itself and below for others, 0 where they are no more alike than either is to the
    cohort, and symmetric. It is an inner product of vectors that are made of one side alone, so that searching
    for the highest score stays a scan. Without a `cohort` it is the cosine.
    """

    cohort: Cohort | None = None

    def probes(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """What is multiplied with `references`, for embeddings [n, d] of length one: [n, d], or [n, d + 2]."""
        return self._extended(embeddings, (1.0, 0.0), (0.0, -0.5))

    def references(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """What `probes` is multiplied with, for embeddings [n, d] of length one: [n, d], or [n, d + 2]."""
        return self._extended(embeddings, (0.0, -0.5), (1.0, 0.0))

    def rough_references(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """`references` in single precision, for codes, whose bounds allow for what that errs."""
        return self._extended(embeddings, (0.0, -0.5), (1.0, 0.0), precision=np.float32)

    def scores(self, probes: NDArray[np.float32], references: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores [n, m] of embeddings [n, d] with embeddings [m, d], all of length one.

        Rounded to nine decimals, so that the order of summation does not decide between equals.
        """
        return np.round(self.probes(probes) @ self.references(references).T, 9)

    def _extended(
        self,
        embeddings: NDArray[np.float32],
        *lines: tuple[float, float],
        precision: type[FloatT] = np.float64,  # type: ignore[assignment]
    ) -> NDArray[FloatT]:
        """Embeddings with a value for each of `lines`, (a, b): a + b·m; all divided by √(1 − m)."""
        if self.cohort is None:
            return embeddings.astype(precision)
        crowding = self.cohort.crowding(embeddings, precision)
        extended = np.empty((len(embeddings), embeddings.shape[1] + len(lines)), precision)
        extended[:, : -len(lines)] = embeddings
        for number, (a, b) in enumerate(lines, start=embeddings.shape[1]):
            extended[:, number] = a + b * crowding
        extended /= np.sqrt(1 - crowding)[:, None]
        return extended


def _normalised(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float64).tiny), np.float64)
