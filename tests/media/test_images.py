"""What users send, whole and broken: every picture is either decoded rightly or refused by name."""

import gc
import io
import struct
import threading
import zlib
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from tests.fuzz.images import ADAM7

from regard.media import images
from regard.media.images import (
    ImageError,
    ImageTooLarge,
    ImageTooSmall,
    InvalidImageFormat,
    TooManyImages,
    decode,
)

RED, GREEN, BLUE, WHITE = (220, 20, 30), (20, 200, 40), (30, 40, 210), (255, 255, 255)


def quarters() -> Image.Image:
    """120×100: red, green over blue, white; no two of its eight orientations are alike."""
    picture = Image.new("RGB", (120, 100), RED)
    picture.paste(GREEN, (60, 0, 120, 50))
    picture.paste(BLUE, (0, 50, 60, 100))
    picture.paste(WHITE, (60, 50, 120, 100))
    return picture


def corners(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The middles of the quarters, in reading order."""
    h, w = pixels.shape[:2]
    return [pixels[y, x] for y in (h // 4, 3 * h // 4) for x in (w // 4, 3 * w // 4)]


def shows(pixels: NDArray[np.uint8], *expected: tuple[int, int, int], tolerance: int = 6) -> None:
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3
    np.testing.assert_allclose(np.array(corners(pixels), int), expected, atol=tolerance)


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int, order: str = ">", kind: int = 3) -> bytes:
    mark = {">": b"MM\0*", "<": b"II*\0"}[order]
    entry = struct.pack(f"{order}HHIHH", 274, kind, 1, orientation, 0)
    return b"Exif\0\0" + mark + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes, interlaced: int = 0) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    data = chunk(b"IDAT", zlib.compress(rows, 1))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + data + chunk(b"IEND", b"")


JPEG = saved(quarters(), "JPEG", quality=95)
PNG = saved(quarters(), "PNG")


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    """A picture that is gone, decoded or refused, leaves its room to others."""
    yield
    gc.collect()
    assert images._room._free == images.PIXELS_IN_FLIGHT


@pytest.mark.parametrize(
    "data",
    [
        JPEG,
        PNG,
        saved(quarters(), "JPEG", quality=95, progressive=True),
        saved(quarters(), "JPEG", quality=95, icc_profile=b"not a profile" * 9000),
        saved(quarters(), "PNG", icc_profile=b"not a profile"),
        saved(quarters().quantize(8), "PNG"),
        saved(quarters().convert("RGBA"), "PNG"),
        JPEG + b"trailing" * 100,
        PNG + b"trailing" * 100,
    ],
)
def test_colours_come_out_in_the_order_of_rgb(data: bytes) -> None:
    shows(decode(data), RED, GREEN, BLUE, WHITE)


def test_pixels_are_those_that_pillow_decodes() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (96, 160, 3), np.uint8)
    picture = Image.fromarray(noise)
    np.testing.assert_array_equal(decode(saved(picture, "PNG")), noise)
    jpeg = saved(picture, "JPEG", quality=80)
    difference = decode(jpeg).astype(int) - np.asarray(Image.open(io.BytesIO(jpeg)))
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, (RED, GREEN, BLUE, WHITE)),
        (2, (GREEN, RED, WHITE, BLUE)),
        (3, (WHITE, BLUE, GREEN, RED)),
        (4, (BLUE, WHITE, RED, GREEN)),
        (5, (RED, BLUE, GREEN, WHITE)),
        (6, (BLUE, RED, WHITE, GREEN)),
        (7, (WHITE, GREEN, BLUE, RED)),
        (8, (GREEN, WHITE, RED, BLUE)),
    ],
)
@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_photos_of_turned_phones_are_upright(
    kind: str, order: str, orientation: int, expected: tuple[tuple[int, int, int], ...]
) -> None:
    pixels = decode(saved(quarters(), kind, exif=exif(orientation, order)))
    assert pixels.shape == ((100, 120, 3) if orientation < 5 else (120, 100, 3))
    shows(pixels, *expected, tolerance=10)


@pytest.mark.parametrize(("size", "enough", "shown"), [
    ((1600, 1200), 600, (800, 600)),
    ((1600, 1200), 601, (1600, 1200)),
    ((1602, 1201), 600, (801, 601)),
    ((2403, 9600), 600, (601, 2400)),
    ((4801, 4803), 600, (601, 601)),
    ((8000, 8000), 100, (1000, 1000)),
])  # fmt: skip
def test_of_a_large_jpeg_fewer_pixels_may_be_enough(size: tuple[int, int], enough: int, shown: tuple[int, int]) -> None:
    data = saved(quarters().resize(size), "JPEG", quality=90)
    pixels = decode(data, enough=enough)
    assert pixels.shape == (shown[1], shown[0], 3)
    shows(pixels, *(tuple(map(int, corner)) for corner in corners(decode(data))))  # type: ignore[arg-type]


def test_a_png_and_a_turned_photo_keep_what_is_enough() -> None:
    picture = quarters().resize((1600, 1200))
    assert decode(saved(picture, "PNG"), enough=300).shape == (1200, 1600, 3)
    turned = saved(picture, "JPEG", exif=exif(6))
    shows(decode(turned, enough=300), *corners(decode(turned)))
    assert decode(turned, enough=300).shape == (400, 300, 3)


@pytest.mark.parametrize(
    "garbage",
    [
        exif(0),
        exif(9),
        exif(6, kind=2),
        exif(6)[:-8],
        b"Exif\0\0",
        b"Exif\0\0MM\0*" + b"\xff" * 40,
        b"Exif\0\0" + bytes(60),
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\1" * 200,
    ],
)
def test_senseless_exif_does_not_cost_the_picture(garbage: bytes) -> None:
    shows(decode(saved(quarters(), "JPEG", exif=garbage, quality=95)), RED, GREEN, BLUE, WHITE)


def test_phone_photos_with_further_pictures_count_as_jpeg() -> None:
    second = Image.new("RGB", (120, 100), GREEN)
    data = saved(quarters(), "MPO", save_all=True, append_images=[second], quality=95)
    assert b"MPF\0" in data
    shows(decode(data), RED, GREEN, BLUE, WHITE)


def test_prints_in_cmyk_are_not_inverted() -> None:
    shows(decode(saved(quarters().convert("CMYK"), "JPEG", quality=95)), RED, GREEN, BLUE, WHITE, tolerance=10)


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "L"), ("PNG", "L"), ("PNG", "1"), ("PNG", "LA")])
def test_gray_pictures_have_three_equal_channels(kind: str, mode: str) -> None:
    picture = Image.new("L", (120, 100), 0)
    picture.paste(255, (60, 0, 120, 100))
    shows(decode(saved(picture.convert(mode), kind)), (0, 0, 0), WHITE, (0, 0, 0), WHITE)


@pytest.mark.parametrize(("colour", "samples"), [(0, [0x8040]), (2, [0x8040, 0x2010, 0xF0F0])])
def test_sixteen_bits_a_sample_become_eight(colour: int, samples: list[int]) -> None:
    row = b"\0" + struct.pack(f">{len(samples)}H", *samples) * 120
    red, green, blue = (s >> 8 for s in samples * (3 // len(samples)))
    value = red, green, blue
    shows(decode(png(120, 100, 16, colour, row * 100)), value, value, value, value, tolerance=0)


@pytest.mark.parametrize("depth", [8, 16])
def test_transparency_lies_over_white(depth: int) -> None:
    samples = np.zeros((100, 120, 4), np.uint16)
    samples[..., 0] = 200
    samples[:50, 60:, 3] = 128
    samples[50:, 60:, 3] = 255
    rows = (samples * 257).astype(">u2") if depth == 16 else samples.astype(np.uint8)
    data = png(120, 100, depth, 6, b"".join(b"\0" + row.tobytes() for row in rows))
    shows(decode(data), WHITE, (227, 127, 127), WHITE, (200, 0, 0), tolerance=1)


def test_a_transparent_palette_entry_shows_white() -> None:
    picture = quarters().quantize(8)
    red = picture.getpixel((10, 10))
    shows(decode(saved(picture, "PNG", transparency=red)), WHITE, GREEN, BLUE, WHITE)


@pytest.mark.parametrize("shade", [b"", b"\0", bytes(300)])
def test_senseless_transparency_does_not_cost_the_picture(shade: bytes) -> None:
    data = png(120, 100, 8, 2, (b"\0" + bytes(RED) * 120) * 100, chunk(b"tRNS", shade))
    shows(decode(data), RED, RED, RED, RED, tolerance=0)
    gray = png(120, 100, 8, 0, (b"\0" + bytes([77]) * 120) * 100, chunk(b"tRNS", shade))
    shows(decode(gray), *[(77, 77, 77)] * 4, tolerance=0)


def test_of_an_animation_the_default_picture_counts() -> None:
    data = saved(quarters(), "PNG", save_all=True, append_images=[Image.new("RGB", (120, 100), GREEN)])
    assert b"acTL" in data
    shows(decode(data), RED, GREEN, BLUE, WHITE)
    broken = chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
    shows(decode(png(120, 100, 8, 2, (b"\0" + bytes(RED) * 120) * 100, broken)), RED, RED, RED, RED)


def test_interlaced_png() -> None:
    # Pillow does not write Adam7, so: every pass of a one-colour picture is the same rows, only shorter.
    passes = [
        (0, 8, 0, 8),
        (4, 8, 0, 8),
        (0, 4, 4, 8),
        (2, 4, 0, 4),
        (0, 2, 2, 4),
        (1, 2, 0, 2),
        (0, 1, 1, 2),
    ]
    rows = b"".join((b"\0" + bytes(BLUE) * len(range(x, 120, dx))) * len(range(y, 100, dy)) for x, dx, y, dy in passes)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 120, 100, 8, 2, 0, 0, 1))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    shows(decode(data), BLUE, BLUE, BLUE, BLUE, tolerance=0)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "BMP", "TIFF", "JPEG2000", "PPM", "ICO"])
def test_other_formats_are_refused_though_the_decoder_knows_some(kind: str) -> None:
    with pytest.raises(InvalidImageFormat):
        decode(saved(quarters(), kind))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        bytes(5000),
        JPEG[:2],
        JPEG[:3],
        PNG[:8],
        PNG[:33],
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xe0\0\0" + bytes(200),
        b"\xff\xd8" + b"\xff" * 5000,
        b"\xff\xd8" + b"\xff\x01" * 5000,
        png(0, 100, 8, 2, b""),
        png(120, 100, 7, 2, bytes(50000)),
        png(120, 100, 8, 9, bytes(50000)),
        png(120, 100, 8, 3, bytes(121 * 100)),
        png(120, 100, 8, 2, bytes(361 * 50)),
        PNG.replace(b"IDAT", b"IDAX"),
        PNG.replace(b"IHDR", b"IHDX"),
    ],
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidImageFormat):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [JPEG, saved(quarters(), "JPEG", progressive=True), PNG, saved(quarters(), "JPEG", exif=exif(6) + JPEG)],
)
def test_half_an_upload_is_refused_wherever_it_stopped(data: bytes) -> None:
    for end in {*range(0, len(data), 1 + len(data) // 300), len(data) - 2, len(data) - 1}:
        with pytest.raises(InvalidImageFormat):
            decode(data[:end])


def test_a_jpeg_damaged_in_the_middle_is_decoded_as_far_as_can_be() -> None:
    middle = JPEG.index(b"\xff\xda") + 200
    pixels = decode(JPEG[:middle] + bytes(20) + JPEG[middle + 20 :])
    assert pixels.shape == (100, 120, 3)


def test_a_png_damaged_in_the_middle_is_refused() -> None:
    middle = len(PNG) // 2
    with pytest.raises(InvalidImageFormat):
        decode(PNG[:middle] + b"\x55\xaa" + PNG[middle + 2 :])


def jpeg_claiming(width: int, height: int) -> bytes:
    frame = next(i for i in range(len(JPEG)) if JPEG[i : i + 2] in (b"\xff\xc0", b"\xff\xc2"))
    return JPEG[: frame + 5] + struct.pack(">HH", height, width) + JPEG[frame + 9 :]


@pytest.mark.parametrize("sides", [(10_001, 100), (100, 10_001), (30_000, 30_000), (65_535, 65_535)])
def test_pictures_beyond_the_limit_are_refused_unseen(sides: tuple[int, int]) -> None:
    with pytest.raises(ImageTooLarge):
        decode(jpeg_claiming(*sides))
    with pytest.raises(ImageTooLarge):
        decode(png(*sides, 8, 2, b""))


def test_the_largest_picture_is_accepted() -> None:
    row = b"\0" + bytes(10_000)
    assert decode(png(10_000, 80, 8, 0, row * 80)).shape == (80, 10_000, 3)


def test_smallest_side_is_the_callers_choice() -> None:
    data = saved(quarters().resize((79, 200)), "JPEG")
    with pytest.raises(ImageTooSmall):
        decode(data)
    assert decode(data, minimum=64).shape == (200, 79, 3)
    assert decode(saved(quarters().resize((80, 80)), "JPEG")).shape == (80, 80, 3)


@pytest.mark.parametrize(
    "bomb",
    [
        chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(50_000_000), 9)),
        chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(50_000_000), 9)),
        chunk(b"iTXt", b"x\0\1\0\0\0" + zlib.compress(bytes(50_000_000), 9)),
        chunk(b"tEXt", b"x\0" + b"a" * 9_000_000),
    ],
)
def test_compressed_text_never_reaches_the_decoder(bomb: bytes) -> None:
    data = png(120, 100, 8, 2, (b"\0" + bytes(RED) * 120) * 100, bomb)
    assert len(images._header(data).data) < 10_000
    shows(decode(data), RED, RED, RED, RED)


def test_data_that_unpacks_to_much_more_than_the_pixels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_SURPLUS", 1 << 20)
    rows = (b"\0" + bytes(RED) * 120) * 100
    shows(decode(png(120, 100, 8, 2, rows + bytes(1 << 19))), RED, RED, RED, RED)
    for surplus in (2 << 20, 64 << 20):
        with pytest.raises(InvalidImageFormat, match="unpack"):
            decode(png(120, 100, 8, 2, rows + bytes(surplus)))


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize(
    ("depth", "colour"),
    [
        *((depth, colour) for depth in (1, 2, 4) for colour in (0, 3)),
        *((8, colour) for colour in (0, 2, 3, 4, 6)),
        *((16, colour) for colour in (0, 2, 4, 6)),
    ],
)
def test_no_picture_is_more_than_its_pixels(
    depth: int, colour: int, interlaced: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_SURPLUS", 0)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    width, height = 97, 83
    noise = np.random.default_rng(0)
    rows = [
        b"\0" + noise.bytes(-(-len(range(x, width, dx)) * bits // 8))
        for y, x, dy, dx in (ADAM7 if interlaced else ((0, 0, 1, 1),))
        for _ in range(y, height, dy)
    ]
    palette = chunk(b"PLTE", bytes(3 << depth)) if colour == 3 else b""
    pixels = decode(png(width, height, depth, colour, b"".join(rows), palette, interlaced=interlaced))
    assert pixels.shape == (height, width, 3)


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    data = saved(quarters(), "JPEG", progressive=True)
    scans = [i for i in range(len(data)) if data[i : i + 2] == b"\xff\xda"]
    last = data[scans[-1] : -2]
    shortest = min((data[a:b] for a, b in pairwise(scans)), key=len)
    assert decode(data[:-2] + last * 3 + data[-2:]).shape == (100, 120, 3)
    with pytest.raises(InvalidImageFormat, match="scans"):
        decode(data[:-2] + shortest * 100 + data[-2:])


def test_a_large_jpeg_may_have_fewer_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(quarters(), "JPEG", progressive=True)
    scans = data.count(b"\xff\xda")
    monkeypatch.setattr(images, "MAX_SCANNED_PIXELS", scans * 120 * 100)
    assert decode(data).shape == (100, 120, 3)
    monkeypatch.setattr(images, "MAX_SCANNED_PIXELS", scans * 120 * 100 - 1)
    with pytest.raises(InvalidImageFormat, match="scans"):
        decode(data)


@pytest.mark.parametrize("part", [b"\xff\xe1\0\2", b"\xff\xfe\0\0"])
def test_a_jpeg_of_very_many_segments_is_refused(part: bytes) -> None:
    assert decode(JPEG[:2] + b"\xff\xe1\0\2" * 1000 + JPEG[2:]).shape == (100, 120, 3)
    with pytest.raises(InvalidImageFormat, match="segments"):
        decode(JPEG[:2] + part * 100_000 + JPEG[2:])


def test_a_png_of_very_many_chunks_is_refused() -> None:
    assert decode(PNG[:33] + chunk(b"tEXt", b"") * 1000 + PNG[33:]).shape == (100, 120, 3)
    with pytest.raises(InvalidImageFormat, match="chunks"):
        decode(PNG[:33] + chunk(b"tEXt", b"") * 100_000 + PNG[33:])


def test_pictures_wait_for_room_and_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_room", images._Room(120 * 100))
    monkeypatch.setattr(images, "PATIENCE", 0.05)
    first = decode(JPEG)
    view = first[10:, ::2]
    del first
    with pytest.raises(TooManyImages):
        decode(PNG)
    monkeypatch.setattr(images, "PATIENCE", 30.0)
    second: list[NDArray[np.uint8]] = []
    waiting = threading.Thread(target=lambda: second.append(decode(PNG)))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    del view
    waiting.join(30)
    assert second[0].shape == (100, 120, 3)


SEEDS = [
    JPEG,
    PNG,
    saved(quarters(), "JPEG", progressive=True, exif=exif(6)),
    saved(quarters().convert("CMYK"), "JPEG"),
    saved(quarters().quantize(8), "PNG", transparency=0),
    saved(quarters(), "PNG", exif=exif(8), save_all=True, append_images=[quarters()]),
]


@given(
    data=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 6), st.binary(max_size=6)), min_size=1, max_size=8),
    repair=st.booleans(),
)
@settings(max_examples=600)
def test_any_mutation_is_decoded_or_refused_by_name(
    data: bytes, edits: list[tuple[float, int, bytes]], repair: bool
) -> None:
    mutated = bytearray(data)
    for where, cut, put in edits:
        position = int(where * len(mutated))
        mutated[position : position + cut] = put
    changed = checksums_repaired(bytes(mutated)) if repair else bytes(mutated)
    try:
        pixels = decode(changed)
    except ImageError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert all(80 <= side <= 10_000 for side in pixels.shape[:2])


def checksums_repaired(data: bytes) -> bytes:
    """So that mutated PNG chunks get past their checksums."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    position, chunks = 8, []
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        if position + 12 + length > len(data):
            break
        chunks.append(chunk(data[position + 4 : position + 8], data[position + 8 : position + 8 + length]))
        position += 12 + length
    return data[:8] + b"".join(chunks) + data[position:]
