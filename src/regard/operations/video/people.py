"""PersonTracking, and the paths of people that FaceSearch and CelebrityRecognition go by as well.

What tells people apart is noted of every frame, in any order; who is who is settled at the end over all of the
video, so that neither the chunks nor the processes that looked at them can matter. The notes are gone through twice,
once to follow the people and once to tell of them, because those of two hours would not fit into memory.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.media.video import Chunk, Frame
from regard.operations import shapes
from regard.operations.context import Context, Request
from regard.operations.video.analysis import Part, Result, Task
from regard.vision.geometry import Box
from regard.vision.people import Person, people
from regard.vision.tracking import Alike, Sighting, Track, Tracker, joined

INTERVAL_MS = 250  # a path wants more points than a search; more often would cost more time than the video lasts
_COLOURS = 255  # as what one is kept


class PersonTracking:
    """Everybody at every frame that is looked at, under a number that stays."""

    def interval_ms(self, request: Request) -> int:
        return INTERVAL_MS

    def margin(self, request: Request) -> int:
        return 0

    def check(self, context: Context, request: Request) -> None:
        """Whatever the model lets pass can be carried out."""

    def observe(self, task: Task, chunk: Chunk, frames: Iterable[Frame]) -> Part:
        return observe(task, frames)

    def conclude(self, task: Task, parts: Iterable[Part]) -> Iterator[Result]:
        for seen in Paths.found(task, parts).walk(parts):
            yield Result(seen.time_ms, seen.index, {"Timestamp": seen.time_ms, "Person": seen.person})


@dataclass(frozen=True, slots=True)
class Seen:
    """A person in a frame: the PersonDetail's number, the number of the track, and the PersonDetail."""

    time_ms: int
    index: int
    track: int
    person: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths of people: the tracks, the person of each (None: nobody), and the track of each note (−1: none), in
    the order of the notes."""

    tracks: list[Track]
    persons: list[int | None]
    numbers: list[NDArray[np.int32]]

    @classmethod
    def found(cls, task: Task, parts: Iterable[Part]) -> "Paths":
        """Follow the people through the notes of all chunks, in order."""
        alike = _alike(task.context)
        tracker = Tracker(alike)
        numbers = []
        for part in parts:
            own = [
                -1 if number is None else number
                for time_ms, notes in part
                for number in tracker.update(time_ms, [_sighting(note, task) for note in notes])
            ]
            numbers.append(np.array(own, np.int32))
        return cls(tracker.tracks, joined(tracker.tracks, alike), numbers)

    def walk(self, parts: Iterable[Part]) -> Iterator[Seen]:
        """Everybody who is believed to be there, frame by frame, going through the notes once more."""
        for part, numbers in zip(parts, self.numbers, strict=True):
            notes = ((time_ms, note) for time_ms, of_frame in part for note in of_frame)
            for (time_ms, note), track in zip(notes, numbers.tolist(), strict=True):
                index = None if track < 0 else self.persons[track]
                if index is not None:
                    yield Seen(time_ms, index, track, _person(note, index))


def observe(task: Task, frames: Iterable[Frame]) -> Part:
    """Notes of the people in each frame: [time, [note of a person, …]]."""
    engine = task.context.services.vision.equipment
    return [[frame.time_ms, [_note(person, frame) for person in people(engine, frame.pixels)]] for frame in frames]


def _note(person: Person, frame: Frame) -> dict[str, Any]:
    """What is kept of a person in a frame; `_sighting` and `_person` read it."""
    size = frame.pixels.shape[1], frame.pixels.shape[0]
    note = {
        "box": shapes.ratios(person.box, size),
        "confidence": person.confidence,
        "colours": _packed(np.rint(person.colours * _COLOURS).astype(np.uint8)),
    }
    if person.face is not None:
        note["face"] = shapes.face_detail(person.face, size)
    if person.embedding is not None:
        note |= {"embedding": _packed(person.embedding.astype("<f2")), "quality": person.quality}
    return note


def _sighting(note: Mapping[str, Any], task: Task) -> Sighting:
    left, top, width, height = note["box"]
    across, down = task.video.width, task.video.height
    colours = _unpacked(note["colours"], "u1") / _COLOURS
    embedding = None
    if "embedding" in note:
        embedding = _unpacked(note["embedding"], "<f2")
        embedding /= np.linalg.norm(embedding)
    return Sighting(
        Box(left * across, top * down, width * across, height * down),
        note["confidence"],
        colours / np.linalg.norm(colours),
        embedding,
        note.get("quality", 0.0),
    )


def _person(note: Mapping[str, Any], index: int) -> dict[str, Any]:
    """A PersonDetail."""
    person = {"Index": index, "BoundingBox": shapes.bounding_box(note["box"])}
    return person | ({"Face": note["face"]} if "face" in note else {})


def _alike(context: Context) -> Alike:
    engine = context.services.vision.faces
    return lambda probes, references: engine.similarity.similarity(engine.compare(probes, references))


def _packed(numbers: NDArray[Any]) -> str:
    return base64.b64encode(numbers.tobytes()).decode()


def _unpacked(text: str, kind: str) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(text), kind).astype(np.float32)
