"""Follow people through a video: which of the sightings in its frames are of one person.

Tracking by detection in the manner of SORT (Bewley et al., "Simple Online and Realtime Tracking", ICIP 2016) and
ByteTrack (Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV 2022): a Kalman
filter says where everybody should be by now, sure sightings are assigned first, unsure ones then only to whom they
may continue. Frames may lie far apart and unevenly, so motion is in seconds and the filter's doubt grows with the
gap, by which distances are measured. Where somebody is does not say who it is: colours and, where a face is seen
well, its embedding forbid to continue one person as another. Tracks are joined afterwards, by faces alone, for who
left and came back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from regard.vision.geometry import Box

Alike = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float64]]
"""Similarity 0–100, [n, m], of embeddings [n, d] with embeddings [m, d]."""

LEAST = 50.0  # percent, below which a sighting is not looked at
SURE = 80.0  # from which on it may bring somebody back whom the last frame did not show
START = 90.0  # from which on it may be of somebody new
ALONE = 99.0  # from which on one sighting is enough; anybody else must be seen twice
PATIENCE_MS = 1500  # after which somebody unseen is followed no more
STRANGER = 50.0  # Similarity below which no face goes on as another's: of strangers, one in a hundred reaches it
SAME = 99.0  # Similarity from which on two tracks are of one person: of strangers, one in a million
FACES = 5  # kept of a track, the best ones

# The filter's units are seconds and sizes, the square root of a box's area, for a standing person about a metre.
# The four numbers are the box's middle across, its top, width and height: a bust and a whole figure share the
# first two, so that losing sight of the legs moves nobody.
_NOISE = np.array([0.08, 0.08, 0.15, 0.4])  # standard deviations of what is measured
_SPEED = np.array([1.0, 1.0, 0.3, 0.5])  # of the velocity of whom was seen once
_ACCELERATION = np.array([1.5, 1.5, 0.5, 0.5])
_GATE = 13.28  # of the squared Mahalanobis distance: 99 % of the chi-squared distribution of four degrees
_RECENT = 5  # embeddings that a face is held against
# Bhattacharyya coefficient of colours below which nobody goes on as another.
_COLOURS = 0.6
_FORBIDDEN = 1e6
_BLOCK = 256  # tracks that are compared with all others at a time


@dataclass(frozen=True, slots=True)
class Sighting:
    """Somebody in a frame, in pixels; `score` is the probability in percent that somebody is there.

    `colours` float [k] are the roots of a histogram whose sum is one, as of `regard.vision.colour`. `embedding`
    float32 [d] is that of the face if that is seen well enough to be recognised, and `quality` ranks it, the higher
    the better.
    """

    box: Box
    score: float
    colours: NDArray[np.float32] | None = None
    embedding: NDArray[np.float32] | None = None
    quality: float = 0.0


@dataclass(slots=True)
class Track:
    """One person followed without a break: when seen, in milliseconds, and how surely at best.

    `faces` are the best ones, each with its quality, best first.
    """

    times: set[int] = field(default_factory=set)
    score: float = 0.0
    faces: list[tuple[float, NDArray[np.float32]]] = field(default_factory=list)

    @property
    def believed(self) -> bool:
        """Whether there was anybody."""
        return len(self.times) > 1 or self.score >= ALONE

    def add(self, time_ms: int, sighting: Sighting) -> None:
        self.times.add(time_ms)
        self.score = max(self.score, sighting.score)
        if sighting.embedding is not None:
            self.faces.append((sighting.quality, sighting.embedding))
            self.faces.sort(key=lambda face: -face[0])
            del self.faces[FACES:]

    def face(self) -> NDArray[np.float32] | None:
        """The embedding that stands for the track, float32 [d]: of the best faces the one most like all of them.

        It is one face's and no mean, so that Similarity means of it what it means of a picture's.
        """
        if not self.faces:
            return None
        embeddings = np.stack([embedding for _, embedding in self.faces])
        return np.asarray(embeddings[int((embeddings @ embeddings.sum(0)).argmax())], np.float32)


class Tracker:
    """Gives each sighting the number of a track. The same sightings always get the same numbers."""

    def __init__(self, alike: Alike) -> None:
        self.tracks: list[Track] = []
        self._alike = alike
        self._followed: list[_Followed] = []

    def update(self, time_ms: int, sightings: Sequence[Sighting]) -> list[int | None]:
        """The number of each sighting's track, an index of `tracks`, or None; for frames in order of time."""
        self._followed = [one for one in self._followed if time_ms - one.seen_ms <= PATIENCE_MS]
        for one in self._followed:
            one.predict(time_ms)
        numbers: list[int | None] = [None] * len(sightings)
        sure = [i for i, sighting in enumerate(sightings) if sighting.score >= SURE]
        unsure = [i for i, sighting in enumerate(sightings) if LEAST <= sighting.score < SURE]
        left = self._assign(sightings, sure, self._followed, time_ms, numbers)
        self._assign(sightings, unsure, [one for one in left if not one.missed], time_ms, numbers)
        for one in self._followed:
            one.missed = one.seen_ms != time_ms
        for i in sure:
            if numbers[i] is None and sightings[i].score >= START:
                numbers[i] = self._begin(time_ms, sightings[i])
        return numbers

    def _assign(
        self,
        sightings: Sequence[Sighting],
        chosen: Sequence[int],
        followed: Sequence["_Followed"],
        time_ms: int,
        numbers: list[int | None],
    ) -> list["_Followed"]:
        """Assign the chosen sightings to whom they continue at the least cost in all; who is left over."""
        if not chosen or not followed:
            return list(followed)
        cost = self._costs(followed, [sightings[i] for i in chosen])
        taken = set()
        for row, column in zip(*linear_sum_assignment(cost), strict=True):
            if cost[row, column] < _FORBIDDEN:
                i, one = chosen[column], followed[row]
                one.see(time_ms, sightings[i])
                self.tracks[one.number].add(time_ms, sightings[i])
                numbers[i] = one.number
                taken.add(row)
        return [one for row, one in enumerate(followed) if row not in taken]

    def _costs(self, followed: Sequence["_Followed"], sightings: Sequence[Sighting]) -> NDArray[np.float64]:
        """What it costs to continue each of those followed by each sighting, [m, n]; what cannot be is forbidden."""
        places = np.stack([_measured(sighting.box) for sighting in sightings])
        distance = np.stack([one.distances(places) for one in followed]) / _GATE
        colours = np.array([[_kinship(one.colours, sighting.colours) for sighting in sightings] for one in followed])
        faces = self._similarities(followed, sightings)
        cost = distance + 1 - colours + np.where(np.isnan(faces), 0, 1 - faces / 100)
        cost[(distance > 1) | (colours < _COLOURS) | (faces < STRANGER)] = _FORBIDDEN
        return np.asarray(cost, np.float64)

    def _similarities(self, followed: Sequence["_Followed"], sightings: Sequence[Sighting]) -> NDArray[np.float64]:
        """How alike the faces are, [m, n], by the most similar recent one; NaN where one of the two is not known."""
        found = np.full((len(followed), len(sightings)), np.nan)
        rows = [row for row, one in enumerate(followed) if one.embeddings]
        probes = {i: sighting.embedding for i, sighting in enumerate(sightings) if sighting.embedding is not None}
        if rows and probes:
            recent = [followed[row].embeddings for row in rows]
            similarities = self._alike(np.stack(list(probes.values())), np.concatenate(recent))
            starts = np.cumsum([0, *(len(embeddings) for embeddings in recent[:-1])])
            found[np.ix_(rows, list(probes))] = np.maximum.reduceat(similarities, starts, axis=1).T
        return found

    def _begin(self, time_ms: int, sighting: Sighting) -> int:
        number = len(self.tracks)
        self.tracks.append(Track())
        self.tracks[number].add(time_ms, sighting)
        self._followed.append(_Followed(number, time_ms, sighting))
        return number


class _Followed:
    """Whom a tracker follows: the filter's state, and what he or she looked like last.

    The four coordinates of a box are filtered each by itself, by a model of constant velocity and white
    acceleration: `mean` [4, 2] are places and velocities, `covariance` [4, 2, 2] theirs.
    """

    def __init__(self, number: int, time_ms: int, sighting: Sighting) -> None:
        self.number = number
        self.seen_ms = self._time_ms = time_ms
        self.missed = False
        self.colours = sighting.colours
        self.embeddings = [] if sighting.embedding is None else [sighting.embedding]
        self._size = _size(sighting.box)
        self._mean = np.column_stack([_measured(sighting.box), np.zeros(4)])
        self._covariance = np.zeros((4, 2, 2))
        self._covariance[:, 0, 0] = (_NOISE * self._size) ** 2
        self._covariance[:, 1, 1] = (_SPEED * self._size) ** 2

    def predict(self, time_ms: int) -> None:
        """Move on in time."""
        passed = (time_ms - self._time_ms) / 1000
        self._time_ms = time_ms
        step = np.array([[1.0, passed], [0.0, 1.0]])
        drift = np.array([[passed**4 / 4, passed**3 / 2], [passed**3 / 2, passed**2]])
        self._mean = self._mean @ step.T
        self._covariance = step @ self._covariance @ step.T
        self._covariance += ((_ACCELERATION * self._size) ** 2)[:, None, None] * drift

    def distances(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """The squared Mahalanobis distances [n] of measured boxes [n, 4] from where the box should be now."""
        variance = self._covariance[:, 0, 0] + (_NOISE * self._size) ** 2
        return np.asarray(((places - self._mean[:, 0]) ** 2 / variance).sum(1), np.float64)

    def see(self, time_ms: int, sighting: Sighting) -> None:
        """Take in where he or she is now."""
        variance = self._covariance[:, 0, 0] + (_NOISE * self._size) ** 2
        gain = self._covariance[:, :, 0] / variance[:, None]
        self._mean += gain * (_measured(sighting.box) - self._mean[:, 0])[:, None]
        self._covariance -= gain[:, :, None] * self._covariance[:, None, 0, :]
        self._size = _size(sighting.box)
        self.seen_ms = time_ms
        if sighting.colours is not None:
            self.colours = sighting.colours
        if sighting.embedding is not None:
            self.embeddings = [*self.embeddings, sighting.embedding][-_RECENT:]


def joined(tracks: Sequence[Track], alike: Alike) -> list[int | None]:
    """The person of each track, numbered from 0 in order of appearance; None for a track not to be believed.

    A track goes on as the person of an earlier one if their faces are surely the same and that person is never
    seen at the same time.
    """
    persons: list[int | None] = []
    times: list[set[int]] = []  # of each person
    earlier = _same(tracks, alike)
    for number, track in enumerate(tracks):
        if not track.believed:
            persons.append(None)
            continue
        known = (persons[other] for other in earlier.get(number, ()))
        free = (person for person in known if person is not None and times[person].isdisjoint(track.times))
        person = next(free, len(times))
        if person == len(times):
            times.append(set())
        times[person] |= track.times
        persons.append(person)
    return persons


def _same(tracks: Sequence[Track], alike: Alike) -> dict[int, list[int]]:
    """The earlier tracks with surely the same face as a track, the most similar first, by the track's number."""
    faces = {number: face for number, track in enumerate(tracks) if (face := track.face()) is not None}
    if not faces:
        return {}
    numbers, embeddings = list(faces), np.stack(list(faces.values()))
    found: dict[int, list[int]] = {}
    for start in range(0, len(numbers), _BLOCK):
        for row, similarities in enumerate(alike(embeddings[start : start + _BLOCK], embeddings), start):
            same = np.flatnonzero(similarities[:row] >= SAME)
            found[numbers[row]] = [numbers[i] for i in same[np.argsort(-similarities[same], kind="stable")]]
    return found


def _measured(box: Box) -> NDArray[np.float64]:
    return np.array([box.left + box.width / 2, box.top, box.width, box.height])


def _size(box: Box) -> float:
    return max(float(np.sqrt(box.area)), 1.0)


def _kinship(a: NDArray[np.float32] | None, b: NDArray[np.float32] | None) -> float:
    """The Bhattacharyya coefficient of two histograms, 0–1; 1 where one is not known."""
    return 1.0 if a is None or b is None else float(a @ b)
