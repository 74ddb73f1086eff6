"""Celebrities as the operator's own list: imported from a folder of pictures, listed, removed, never named.

    FOLDER/people.csv       id,name,gender,urls
    FOLDER/<id>/*.jpg       pictures of that person, or one picture FOLDER/<id>.jpg

`id` is letters and digits, `gender` Male, Female, Nonbinary or Unlisted (also where it is empty), `urls` are
separated by spaces. The list says all of that itself: nothing about a person is guessed from a picture.
"""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from regard.media import images
from regard.operations.indexing import new_faces
from regard.operations.pictures import Picture, sort_out
from regard.store import celebrities
from regard.store.celebrities import Celebrity
from regard.store.database import Database
from regard.store.faces import NewFace
from regard.vision.faces import FaceEngine

GENDERS = ("Male", "Female", "Nonbinary", "Unlisted")
MAX_URLS = 255
MAX_PICTURES = 100  # as AWS bounds the faces of a user
COLUMNS = {"id", "name", "gender", "urls"}


class PeopleError(Exception):
    """The list cannot be imported; the text says where and why. Nothing has been changed."""


@dataclass(frozen=True, slots=True)
class Person:
    """A celebrity of the list, with pictures."""

    celebrity: Celebrity
    pictures: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a person of the list: the faces kept, and the pictures that were not used, with reasons."""

    person: Person
    faces: int
    unused: tuple[tuple[Path, str], ...]


def read_people(folder: Path, info: Path) -> list[Person]:
    """The people whom the file `info` lists, with their pictures in `folder`. Raises `PeopleError`."""
    try:
        with info.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if missing := COLUMNS - set(reader.fieldnames or ()):
                raise PeopleError(f"{info}: no column {', '.join(sorted(missing))}")
            people = [_person(folder, f"{info}, line {reader.line_num}", row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PeopleError(f"{info}: {error}") from error
    if not people:
        raise PeopleError(f"{info}: nobody is listed")
    ids = [person.celebrity.celebrity_id for person in people]
    if repeated := {id_ for id_ in ids if ids.count(id_) > 1}:
        raise PeopleError(f"{info}: listed more than once: {', '.join(sorted(repeated))}")
    return people


def _person(folder: Path, place: str, row: dict[str, str | None]) -> Person:
    celebrity_id, name, gender, urls = ((row[column] or "").strip() for column in ("id", "name", "gender", "urls"))
    gender = gender or "Unlisted"
    if not re.fullmatch("[0-9A-Za-z]{1,128}", celebrity_id):
        raise PeopleError(f"{place}: the id must be 1 to 128 letters and digits, not {celebrity_id!r}")
    if not name:
        raise PeopleError(f"{place}: {celebrity_id} has no name")
    if gender not in GENDERS:
        raise PeopleError(f"{place}: the gender must be one of {', '.join(GENDERS)}, not {gender!r}")
    if len(urls.split()) > MAX_URLS:
        raise PeopleError(f"{place}: {celebrity_id} has more than {MAX_URLS} urls")
    below = sorted((folder / celebrity_id).glob("*"))
    pictures = [
        file
        for file in (*below, *(folder / f"{celebrity_id}{suffix}" for suffix in sorted(images.SUFFIXES)))
        if file.suffix.lower() in images.SUFFIXES and file.is_file()
    ]
    if not 1 <= len(pictures) <= MAX_PICTURES:
        raise PeopleError(f"{place}: {celebrity_id} has {len(pictures)} pictures in {folder}, not 1 to {MAX_PICTURES}")
    return Person(Celebrity(celebrity_id, name, tuple(urls.split()), gender), tuple(pictures))


def import_person(database: Database, engine: FaceEngine, person: Person) -> Imported:
    """Let a person be recognised, in place of what was known under that id.

    Nothing is changed for one who has opted out, by id or by name, or has no usable picture.
    """
    celebrity = person.celebrity
    with database.read() as connection:
        if _refused(celebrity, celebrities.opt_outs(connection)):
            return Imported(person, 0, tuple((file, "opted out") for file in person.pictures))
    new: dict[bytes, NewFace] = {}
    unused = []
    for file in person.pictures:
        face = main_face(engine, file)
        if isinstance(face, str):
            unused.append((file, face))
        else:
            new.setdefault(face.face_id.bytes, face)
    if new:
        with database.begin() as connection:
            collection = celebrities.open_gallery(connection, engine.model_version)
            celebrities.put(connection, collection, celebrity, list(new.values()))
    return Imported(person, len(new), tuple(unused))


def _refused(celebrity: Celebrity, opt_outs: Iterable[celebrities.OptOut]) -> bool:
    return any(
        celebrity.celebrity_id == note.celebrity_id
        or (note.name is not None and celebrity.name.lower() == note.name.lower())
        for note in opt_outs
    )


def main_face(engine: FaceEngine, file: Path) -> NewFace | str:
    """The largest face of a picture, or why there is none to be had."""
    try:
        data = file.read_bytes()
        picture = Picture(images.decode(data), data)
    except (OSError, images.ImageError) as error:
        return str(error)
    found = engine.describe(picture.pixels, engine.detect(picture.pixels)[:1], frozenset())
    passed, failed = sort_out(picture, found, "AUTO")
    if not passed:
        return ", ".join(reason for _, reasons in failed for reason in reasons) or "no face"
    (face,) = new_faces(engine.model_version, picture, passed, engine.embed(picture.pixels, passed), None)
    return face


def remove(database: Database, celebrity_id: str) -> bool:
    """Forget a celebrity with faces and vector; False if there is none of that id."""
    with database.begin() as connection:
        collection = celebrities.lock_gallery(connection)
        return collection is not None and celebrities.remove(connection, collection, celebrity_id)


def opt_out(database: Database, celebrity_id: str, name: str | None, reason: str) -> bool:
    """Never recognise that person again, also not after another import; False if nobody had to be forgotten."""
    with database.begin() as connection:
        known = celebrities.by_ids(connection, [celebrity_id]).get(celebrity_id)
        collection = celebrities.lock_gallery(connection)
        celebrities.opt_out(connection, celebrity_id, name or (known.name if known else None), reason)
        return collection is not None and celebrities.remove(connection, collection, celebrity_id)
