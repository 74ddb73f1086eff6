"""Pictures that people really send: every kind of JPEG and PNG works, and everything else gets AWS's error."""

import io
import struct
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

INVALID_FORMAT = "InvalidImageFormatException", "Request has invalid image format"
TOO_LARGE = "ImageTooLargeException", "Image size is too large."
NO_OBJECT = (
    "InvalidS3ObjectException",
    "Unable to get object metadata from S3. Check object key, region and/or access permissions.",
)
BYTES = (
    "InvalidParameterException",
    "1 validation error detected: Value at 'image.bytes' failed to satisfy constraint: ",
)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_of_nothing(width: int, height: int) -> bytes:
    """A black PNG, one bit a pixel: a small file however large the picture."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    chunks = (b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def error(client: Any, call: Callable[..., Any], **parameters: Any) -> tuple[str, str]:
    with pytest.raises(client.exceptions.ClientError) as raised:
        call(**parameters)
    return raised.value.response["Error"]["Code"], raised.value.response["Error"]["Message"]


def centres(faces: list[dict[str, Any]]) -> list[tuple[float, float]]:
    boxes = [face["BoundingBox"] for face in faces]
    return [(box["Left"] + box["Width"] / 2, box["Top"] + box["Height"] / 2) for box in boxes]


# What works


def cmyk(image: Image.Image) -> bytes:
    return encoded(image.convert("CMYK"), "JPEG")


def gray(image: Image.Image) -> bytes:
    return encoded(image.convert("L"), "JPEG")


def progressive(image: Image.Image) -> bytes:
    return encoded(image, "JPEG", progressive=True)


def rgb_png(image: Image.Image) -> bytes:
    return encoded(image, "PNG")


def interlaced_gray_png(image: Image.Image) -> bytes:
    return encoded(image.convert("L"), "PNG", interlace=1)


def sixteen_bits(image: Image.Image) -> bytes:
    wide = np.asarray(image, np.uint16)[..., ::-1] * 257
    return cv2.imencode(".png", wide)[1].tobytes()


def alpha(image: Image.Image) -> bytes:
    image = image.copy()
    image.putalpha(255)
    return encoded(image, "PNG")


def palette(image: Image.Image) -> bytes:
    return encoded(image.quantize(256), "PNG")


def animated(image: Image.Image) -> bytes:
    return encoded(image, "PNG", save_all=True, append_images=[Image.new("RGB", image.size)], duration=100)


def turned_by_exif(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif)


@pytest.mark.parametrize(
    "variant",
    [
        cmyk,
        gray,
        progressive,
        rgb_png,
        interlaced_gray_png,
        sixteen_bits,
        alpha,
        palette,
        animated,
        turned_by_exif,
    ],
)
def test_every_kind_of_jpeg_and_png_shows_the_same_face(
    rekognition: Any, portrait: Image.Image, face: bytes, variant: Callable[[Image.Image], bytes]
) -> None:
    (expected,) = centres(rekognition.detect_faces(Image={"Bytes": face})["FaceDetails"])
    (found,) = centres(rekognition.detect_faces(Image={"Bytes": variant(portrait)})["FaceDetails"])
    assert found == pytest.approx(expected, abs=0.02)


def test_an_image_of_80_pixels_a_side_is_large_enough(rekognition: Any) -> None:
    small = encoded(Image.new("RGB", (80, 80)), "PNG")
    assert rekognition.detect_faces(Image={"Bytes": small})["FaceDetails"] == []


# What does not


def _malformed() -> dict[str, tuple[bytes, tuple[str, str]]]:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (200, 200, 3), dtype=np.uint8))
    jpeg, png = encoded(noise, "JPEG"), encoded(noise, "PNG")
    small = Image.new("RGB", (79, 200))
    return {
        "empty": (b"", (BYTES[0], BYTES[1] + "Member must have length greater than or equal to 1")),
        "more than 5 MB": (
            jpeg + bytes(5242881 - len(jpeg)),
            (BYTES[0], BYTES[1] + "Member must have length less than or equal to 5242880"),
        ),
        "text": (b"this is no picture", INVALID_FORMAT),
        "GIF": (encoded(noise, "GIF"), INVALID_FORMAT),
        "WebP": (encoded(noise, "WEBP"), INVALID_FORMAT),
        "BMP": (encoded(noise, "BMP"), INVALID_FORMAT),
        "TIFF": (encoded(noise, "TIFF"), INVALID_FORMAT),
        "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(1000), INVALID_FORMAT),
        "AVIF": (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1" + bytes(1000), INVALID_FORMAT),
        "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg" width="200" height="200"/>', INVALID_FORMAT),
        "half a JPEG": (jpeg[: len(jpeg) // 2], INVALID_FORMAT),
        "half a PNG": (png[: len(png) // 2], INVALID_FORMAT),
        "the start of a JPEG": (b"\xff\xd8\xff\xe0", INVALID_FORMAT),
        "the start of a PNG": (png[:8], INVALID_FORMAT),
        "a damaged PNG": (png[:60] + bytes(200) + png[260:], INVALID_FORMAT),
        "79 pixels wide": (encoded(small, "JPEG"), ("InvalidParameterException", "79×200 pixels; at least 80 a side")),
        "79 pixels high": (
            encoded(small.transpose(Image.Transpose.ROTATE_90), "PNG"),
            ("InvalidParameterException", "200×79 pixels; at least 80 a side"),
        ),
        "a bomb": (png_of_nothing(20_000, 20_000), TOO_LARGE),
        "10,001 pixels wide": (png_of_nothing(10_001, 100), TOO_LARGE),
    }


MALFORMED = _malformed()


@pytest.mark.parametrize("name", MALFORMED)
def test_a_picture_that_is_none_is_refused_and_leaves_nothing(unchecked: Any, collection: str, name: str) -> None:
    data, expected = MALFORMED[name]
    image = {"Bytes": data}
    assert error(unchecked, unchecked.detect_faces, Image=image) == expected
    assert error(unchecked, unchecked.index_faces, CollectionId=collection, Image=image) == expected
    assert unchecked.describe_collection(CollectionId=collection)["FaceCount"] == 0
    assert unchecked.list_faces(CollectionId=collection)["Faces"] == []


def test_the_bomb_of_these_tests_is_a_small_file() -> None:
    assert len(MALFORMED["a bomb"][0]) < 100_000


@pytest.mark.parametrize("side", ["SourceImage", "TargetImage"])
def test_both_pictures_of_a_comparison_are_judged(rekognition: Any, face: bytes, side: str) -> None:
    images = {"SourceImage": {"Bytes": face}, "TargetImage": {"Bytes": face}, side: {"Bytes": b"GIF89a"}}
    assert error(rekognition, rekognition.compare_faces, **images) == INVALID_FORMAT


@pytest.mark.parametrize(
    "image", [{}, {"Bytes": b"x", "S3Object": {"Bucket": "local", "Name": "x"}}], ids=["neither", "both"]
)
def test_a_picture_is_either_bytes_or_an_object(rekognition: Any, image: dict[str, Any]) -> None:
    assert error(rekognition, rekognition.detect_faces, Image=image)[0] == "InvalidParameterException"


# S3


@pytest.fixture(scope="module")
def bucket(s3: Any) -> str:
    name = f"photos-{uuid.uuid4()}"
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


def thing(bucket: str, name: str, **more: str) -> dict[str, Any]:
    return {"S3Object": {"Bucket": bucket, "Name": name, **more}}


@pytest.mark.parametrize("name", ["face.jpg", "a folder/with spaces + signs.jpg", "Über/写真/صورة.jpg", "%2e%2e/x"])
def test_a_photo_is_read_from_s3(rekognition: Any, s3: Any, bucket: str, face: bytes, name: str) -> None:
    s3.put_object(Bucket=bucket, Key=name, Body=face)
    assert len(rekognition.detect_faces(Image=thing(bucket, name))["FaceDetails"]) == 1


def test_a_version_of_an_object_can_be_named(
    rekognition: Any, s3: Any, bucket: str, face: bytes, faceless: bytes
) -> None:
    old = s3.put_object(Bucket=bucket, Key="changed.jpg", Body=face)["VersionId"]
    s3.put_object(Bucket=bucket, Key="changed.jpg", Body=faceless)
    assert rekognition.detect_faces(Image=thing(bucket, "changed.jpg"))["FaceDetails"] == []
    assert len(rekognition.detect_faces(Image=thing(bucket, "changed.jpg", Version=old))["FaceDetails"]) == 1


def test_what_s3_does_not_have_cannot_be_read(rekognition: Any, s3: Any, bucket: str, face: bytes) -> None:
    s3.put_object(Bucket=bucket, Key="here.jpg", Body=face)
    for image in (
        thing(bucket, "missing.jpg"),
        thing(bucket, "here.jpg", Version=str(uuid.uuid4())),
        thing("a-bucket-of-nobody", "here.jpg"),
        thing(bucket, "here.jpg/"),
        {"S3Object": {"Bucket": bucket}},
        {"S3Object": {"Name": "here.jpg"}},
    ):
        assert error(rekognition, rekognition.detect_faces, Image=image) == NO_OBJECT


def test_objects_may_have_15_mb_and_no_more(
    rekognition: Any, s3: Any, bucket: str, collection: str, face: bytes
) -> None:
    limit = 15 * 1024 * 1024
    s3.put_object(Bucket=bucket, Key="large.jpg", Body=face + bytes(limit - len(face)))
    s3.put_object(Bucket=bucket, Key="larger.jpg", Body=face + bytes(limit + 1 - len(face)))
    assert len(rekognition.detect_faces(Image=thing(bucket, "large.jpg"))["FaceDetails"]) == 1
    larger = {"CollectionId": collection, "Image": thing(bucket, "larger.jpg")}
    assert error(rekognition, rekognition.index_faces, **larger) == TOO_LARGE
    assert rekognition.describe_collection(CollectionId=collection)["FaceCount"] == 0


def test_what_is_no_picture_in_s3_either_is_refused(rekognition: Any, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="note.txt", Body=b"text")
    s3.put_object(Bucket=bucket, Key="nothing.jpg", Body=b"")
    for name in ("note.txt", "nothing.jpg"):
        assert error(rekognition, rekognition.detect_faces, Image=thing(bucket, name)) == INVALID_FORMAT


# Local buckets


def test_a_photo_is_read_from_a_local_bucket(rekognition: Any, buckets: Path, face: bytes) -> None:
    for name in ("face.jpg", "a folder/with spaces.jpg", "Über/写真.jpg"):
        file = buckets / "local" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(face)
        assert len(rekognition.detect_faces(Image=thing("local", name))["FaceDetails"]) == 1


def test_the_same_photo_has_the_same_face_wherever_it_comes_from(
    rekognition: Any, collection: str, buckets: Path, face: bytes
) -> None:
    (buckets / "local" / "same.jpg").write_bytes(face)
    for image in ({"Bytes": face}, thing("local", "same.jpg")):
        rekognition.index_faces(CollectionId=collection, Image=image)
    assert rekognition.describe_collection(CollectionId=collection)["FaceCount"] == 1


def test_nothing_outside_a_local_bucket_can_be_read(unchecked: Any, buckets: Path, face: bytes) -> None:
    (buckets / "secret.jpg").write_bytes(face)
    (buckets / "local" / "link.jpg").symlink_to(buckets / "secret.jpg")
    (buckets / "local" / "folder").mkdir()
    for image in (
        thing("local", "../secret.jpg"),
        thing("local", "folder/../../secret.jpg"),
        thing("local", str(buckets / "secret.jpg")),
        thing("local", "link.jpg"),
        thing("local", "folder"),
        thing("local", "missing.jpg"),
        thing("local", "link.jpg", Version="1"),
    ):
        assert error(unchecked, unchecked.detect_faces, Image=image) == NO_OBJECT
    for bucket in ("..", ".", "local/.."):
        code, _ = error(unchecked, unchecked.detect_faces, Image=thing(bucket, "secret.jpg"))
        assert code == "InvalidParameterException"
