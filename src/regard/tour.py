"""The tour: what a running server does, shown through plain boto3 on real photos.

It is the demo and the first end-to-end check at once: every call below is one that any Rekognition client
makes, and what came back is printed and drawn. What it creates on the server it deletes, also on failure.
"""

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import boto3
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from rich.text import Text

from regard.drawing import GREEN, ORANGE, PALETTE, SKY, VERMILION, Mark, draw
from regard.look import SURE, TRAITS, caption
from regard.media.images import decode
from regard.vision.geometry import Box

# Names of photos. The probe shows the enrolled person but is not enrolled itself; the stranger never is.
PERSON = ("obama", "obama3")
PROBE = "obama2"
OTHERS = ("biden", "hopper")
STRANGER = "astronaut"
THINGS, PAGE = "coffee", "page"
USER = "the-44th"
MATCH = 80.0  # AWS's default threshold

_ANSWERS = ("Smile", "Eyeglasses", "Sunglasses", "Beard", "Mustache", "EyesOpen", "MouthOpen", "FaceOccluded")


def tour(client: Any, photos: Mapping[str, Path], out: Path, console: Console) -> None:
    """Walk through all that is built; annotated PNGs go into the folder `out`.

    `client` is boto3's for Rekognition; `photos` are files by the names above. Raises what boto3 raises.
    """
    guide = _Guide(client, console, out)
    console.print(Text(f"Regard at {client.meta.endpoint_url}, asked through boto3 {boto3.__version__}.", style="bold"))
    _describe(guide, [photos[STRANGER], photos[PERSON[0]]])
    _compare(guide, photos[PERSON[0]], photos[PROBE])
    _compare(guide, photos[PERSON[0]], photos[OTHERS[0]])
    with _collection(guide) as collection:
        faces = {name: _index(guide, collection, photos[name]) for name in (*PERSON, *OTHERS)}
        _search(guide, collection, photos[PROBE])
        _search(guide, collection, photos[STRANGER])
        _users(guide, collection, [faces[name] for name in PERSON], photos[PROBE])
        _tags(guide, collection)
    _celebrities(guide, [photos[PROBE], photos[STRANGER]])
    _labels(guide, [photos[THINGS], photos[STRANGER]])
    _text(guide, photos[PAGE])
    _moderation(guide, photos[STRANGER])
    _equipment(guide, photos[STRANGER])
    console.print(Text(f"\nAnnotated pictures: {out}", style="bold"))


@dataclass(frozen=True, slots=True)
class _Guide:
    """Asks the server, and tells what was asked and how long the answer took."""

    client: Any
    console: Console
    out: Path

    def chapter(self, title: str) -> None:
        self.console.print()
        self.console.rule(Text(title, style="bold"), align="left")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The response to a call. A parameter that is a path sends that file as an image's bytes."""
        sent = {
            name: {"Bytes": value.read_bytes()} if isinstance(value, Path) else value
            for name, value in parameters.items()
        }
        shown = ", ".join(
            f"{name}={value.name if isinstance(value, Path) else repr(value)}" for name, value in parameters.items()
        )
        self.console.print(Text.assemble((method, "bold cyan"), f"({shown})"), end="")
        started = time.perf_counter()
        response: dict[str, Any] = getattr(self.client, method)(**sent)
        self.console.print(Text(f"  {1000 * (time.perf_counter() - started):.0f} ms", style="green"))
        return response

    def keep(self, name: str, picture: NDArray[np.uint8]) -> None:
        Image.fromarray(picture).save(self.out / f"{name}.png")


def _describe(guide: _Guide, photos: Sequence[Path]) -> None:
    guide.chapter("What does a face look like?")
    for photo in photos:
        faces = guide.ask("detect_faces", Image=photo, Attributes=["ALL"])["FaceDetails"]
        table = Table("Attribute", "Value", "Confidence", title=photo.name, title_justify="left")
        for face in faces:
            for row in _rows(face):
                table.add_row(*row)
            table.add_section()
        guide.console.print(table)
        picture = _pixels(photo)
        marks = [_mark(picture, face, _caption(face)) for face in faces]
        guide.keep(f"faces-{photo.stem}", draw(picture, marks))


def _rows(face: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The attributes of a FaceDetail as table rows."""
    pose, quality, gaze = face["Pose"], face["Quality"], face.get("EyeDirection")
    yield "Face", f"{len(face['Landmarks'])} landmarks", f"{face['Confidence']:.1f}"
    yield "AgeRange", f"{face['AgeRange']['Low']}–{face['AgeRange']['High']}", ""
    yield "Gender", face["Gender"]["Value"], f"{face['Gender']['Confidence']:.1f}"
    for emotion in _leading(face, 2):
        yield "Emotion", emotion["Type"], f"{emotion['Confidence']:.1f}"
    for name in _ANSWERS:
        yield name, "yes" if face[name]["Value"] else "no", f"{face[name]['Confidence']:.1f}"
    yield "Pose", " ".join(f"{name} {pose[name]:z.0f}°" for name in ("Yaw", "Pitch", "Roll")), ""
    if gaze:
        yield (
            "EyeDirection",
            f"Yaw {gaze['Yaw']:z.0f}° Pitch {gaze['Pitch']:z.0f}°",
            f"{gaze['Confidence']:.1f}",
        )
    yield "Quality", f"Brightness {quality['Brightness']:.0f} Sharpness {quality['Sharpness']:.0f}", ""


def _leading(face: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    return sorted(face["Emotions"], key=lambda emotion: -emotion["Confidence"])[:count]


def _caption(face: Mapping[str, Any]) -> tuple[str, ...]:
    gender = face["Gender"]
    seen = {trait: face[trait.capitalize()] for trait in TRAITS}
    return caption(
        face["Confidence"],
        age_range=(face["AgeRange"]["Low"], face["AgeRange"]["High"]),
        gender=gender["Value"] if gender["Confidence"] >= SURE else None,
        emotion=_leading(face, 1)[0]["Type"],
        traits=[trait for trait in TRAITS if seen[trait]["Value"] and seen[trait]["Confidence"] >= SURE],
    )


def _compare(guide: _Guide, source: Path, target: Path) -> None:
    guide.chapter(f"Are {source.name} and {target.name} the same person?")
    # Without a threshold, for the similarity of strangers to be seen too.
    response = guide.ask("compare_faces", SourceImage=source, TargetImage=target, SimilarityThreshold=0)
    left, right = _equally_high(_pixels(source), _pixels(target))
    marks = [_mark(left, response["SourceImageFace"], (source.stem,))]
    for match in response["FaceMatches"]:
        similarity = match["Similarity"]
        verdict, colour = ("match", GREEN) if similarity >= MATCH else ("no match", VERMILION)
        guide.console.print(Text(f"  similarity {similarity:.2f}: {verdict}"))
        mark = _mark(right, match["Face"], (verdict, f"similarity {similarity:.2f}"), colour)
        marks.append(_moved(mark, left.shape[1]))
    guide.keep(f"compare-{source.stem}-{target.stem}", draw(np.hstack([left, right]), marks))


@contextmanager
def _collection(guide: _Guide) -> Iterator[str]:
    """A new collection for the time of the tour."""
    guide.chapter("Who is this? A collection of known faces")
    collection = f"regard-tour-{uuid.uuid4().hex[:8]}"
    guide.ask("create_collection", CollectionId=collection)
    try:
        yield collection
    finally:
        guide.chapter("Leave nothing behind")
        guide.ask("delete_collection", CollectionId=collection)


def _index(guide: _Guide, collection: str, photo: Path) -> str:
    """Enrols the face of a photo under the file's name; the id that it got."""
    response = guide.ask("index_faces", CollectionId=collection, Image=photo, ExternalImageId=photo.stem, MaxFaces=1)
    (record,) = response["FaceRecords"]
    return str(record["Face"]["FaceId"])


def _search(guide: _Guide, collection: str, photo: Path) -> None:
    guide.chapter(f"Is the person in {photo.name}, a photo that was not enrolled, known?")
    response = guide.ask("search_faces_by_image", CollectionId=collection, Image=photo)
    table = Table("Known as", "Similarity", "FaceId")
    for match in response["FaceMatches"]:
        face = match["Face"]
        table.add_row(face["ExternalImageId"], f"{match['Similarity']:.2f}", face["FaceId"])
    guide.console.print(table if response["FaceMatches"] else Text("  no: nobody in the collection matches"))
    picture = _pixels(photo)
    mark = _mark(picture, {"BoundingBox": response["SearchedFaceBoundingBox"]}, ("not in the collection",), VERMILION)
    for best in response["FaceMatches"][:1]:
        lines = (best["Face"]["ExternalImageId"], f"similarity {best['Similarity']:.2f}")
        mark = replace(mark, lines=lines, colour=GREEN)
    guide.keep(f"search-{photo.stem}", draw(picture, [mark]))


def _users(guide: _Guide, collection: str, face_ids: list[str], probe: Path) -> None:
    guide.chapter("Several faces, one person: users")
    guide.ask("create_user", CollectionId=collection, UserId=USER)
    guide.ask("associate_faces", CollectionId=collection, UserId=USER, FaceIds=face_ids)
    response = guide.ask("search_users_by_image", CollectionId=collection, Image=probe)
    for match in response["UserMatches"]:
        similarity = match["Similarity"]
        guide.console.print(Text(f"  {match['User']['UserId']}: similarity {similarity:.2f}"))
    if not response["UserMatches"]:
        guide.console.print(Text("  no user matches"))


def _tags(guide: _Guide, collection: str) -> None:
    guide.chapter("Tags, as for any resource of AWS")
    arn = guide.ask("describe_collection", CollectionId=collection)["CollectionARN"]
    guide.ask("tag_resource", ResourceArn=arn, Tags={"purpose": "tour"})
    tags = guide.ask("list_tags_for_resource", ResourceArn=arn)["Tags"]
    guide.console.print(Text(f"  {tags}"))


def _celebrities(guide: _Guide, photos: Sequence[Path]) -> None:
    guide.chapter("Is that somebody famous? The operator's own list")
    for photo in photos:
        response = guide.ask("recognize_celebrities", Image=photo)
        for celebrity in response["CelebrityFaces"]:
            guide.console.print(Text(f"  {celebrity['Name']}: confidence {celebrity['MatchConfidence']:.2f}"))
        guide.console.print(Text(f"  {len(response['UnrecognizedFaces'])} faces are of nobody on the list"))


def _labels(guide: _Guide, photos: Sequence[Path]) -> None:
    guide.chapter("What is in the picture?")
    for photo in photos:
        features = ["GENERAL_LABELS", "IMAGE_PROPERTIES"]
        response = guide.ask("detect_labels", Image=photo, Features=features, MaxLabels=12)
        picture, marks = _pixels(photo), []
        table = Table("Label", "Confidence", "Instances", "Parents", title=photo.name, title_justify="left")
        for label, colour in zip(response["Labels"], cycle(PALETTE), strict=False):
            parents = ", ".join(parent["Name"] for parent in label["Parents"])
            table.add_row(label["Name"], f"{label['Confidence']:.1f}", str(len(label["Instances"]) or ""), parents)
            marks += [
                _mark(picture, instance, (f"{label['Name']} {instance['Confidence']:.0f} %",), colour)
                for instance in label["Instances"]
            ]
        guide.console.print(table)
        colours = ", ".join(
            f"{colour['CSSColor']} {colour['PixelPercent']:.0f} %"
            for colour in response["ImageProperties"]["DominantColors"][:5]
        )
        guide.console.print(Text(f"  colours: {colours}"))
        guide.keep(f"labels-{photo.stem}", draw(picture, marks))


def _text(guide: _Guide, photo: Path) -> None:
    guide.chapter("What does it say?")
    response = guide.ask("detect_text", Image=photo)
    picture, marks = _pixels(photo), []
    for detection in response["TextDetections"]:
        if detection["Type"] == "LINE":
            guide.console.print(Text(f"  {detection['Confidence']:5.1f}  {detection['DetectedText']}"))
        else:
            marks.append(_mark(picture, detection["Geometry"], ()))
    guide.keep(f"text-{photo.stem}", draw(picture, marks))


def _moderation(guide: _Guide, photo: Path) -> None:
    guide.chapter("Is there something that not everybody should see?")
    response = guide.ask("detect_moderation_labels", Image=photo)
    for label in response["ModerationLabels"]:
        guide.console.print(Text(f"  {label['Name']}: {label['Confidence']:.1f}"))
    if not response["ModerationLabels"]:
        guide.console.print(Text("  no: no moderation label"))


def _equipment(guide: _Guide, photo: Path) -> None:
    guide.chapter("Who wears a mask?")
    needed = {"MinConfidence": MATCH, "RequiredEquipmentTypes": ["FACE_COVER"]}
    response = guide.ask("detect_protective_equipment", Image=photo, SummarizationAttributes=needed)
    picture, marks = _pixels(photo), []
    for person in response["Persons"]:
        marks.append(_mark(picture, person, (f"person {person['Id']}, {person['Confidence']:.0f} %",)))
        parts = ", ".join(f"{part['Name']} {part['Confidence']:.0f}" for part in person["BodyParts"])
        guide.console.print(Text(f"  person {person['Id']}: {parts}"))
        covers = (cover for part in person["BodyParts"] for cover in part["EquipmentDetections"])
        marks += [_mark(picture, cover, (cover["Type"],), ORANGE) for cover in covers]
    for verdict, persons in response["Summary"].items():
        guide.console.print(Text(f"  {verdict}: {persons}"))
    guide.keep(f"equipment-{photo.stem}", draw(picture, marks))


def _pixels(photo: Path) -> NDArray[np.uint8]:
    return decode(photo.read_bytes())


def _mark(
    picture: NDArray[np.uint8],
    thing: Mapping[str, Any],
    lines: tuple[str, ...],
    colour: tuple[int, int, int] = SKY,
) -> Mark:
    """A mark for what has a BoundingBox and perhaps Landmarks or a Polygon: ratios of the picture's size."""
    height, width = picture.shape[:2]
    ratios = thing["BoundingBox"]
    box = Box(ratios["Left"] * width, ratios["Top"] * height, ratios["Width"] * width, ratios["Height"] * height)
    points, corners = (
        np.array([(point["X"] * width, point["Y"] * height) for point in thing.get(name, ())]).reshape(-1, 2)
        for name in ("Landmarks", "Polygon")
    )
    return Mark(box, points, lines, colour, corners if len(corners) else None)


def _moved(mark: Mark, right: int) -> Mark:
    box = replace(mark.box, left=mark.box.left + right)
    return replace(mark, box=box, points=mark.points + np.array([right, 0]))


def _equally_high(*pictures: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The pictures, shrunk to the height of the lowest."""
    height = min(len(picture) for picture in pictures)
    sizes = [(round(picture.shape[1] * height / len(picture)), height) for picture in pictures]
    return [
        np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        for picture, size in zip(pictures, sizes, strict=True)
    ]
