"""What is drawn can be seen and read, and hides nothing that it could spare."""

from itertools import combinations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from regard.drawing import GREEN, PALETTE, SKY, Mark, draw
from regard.vision.geometry import Box

NO_POINTS = np.empty((0, 2))
WHITE, BLACK = 255, 0


def plain(width: int, height: int, shade: int = 128) -> NDArray[np.uint8]:
    return np.full((height, width, 3), shade, np.uint8)


def changed(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray((before != after).any(2))


def test_the_picture_itself_is_left_alone() -> None:
    image = plain(300, 200)
    drawn = draw(image, [Mark(Box(50, 50, 60, 70), NO_POINTS, ("a",))])
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert drawn.flags.writeable
    assert (image == 128).all()
    assert (drawn != image).any()


def test_the_box_frames_the_face_in_its_colour() -> None:
    drawn = draw(plain(400, 400), [Mark(Box(100, 120, 150, 160), NO_POINTS, (), GREEN)])
    for x, y in ((100, 200), (250, 200), (175, 120), (175, 280)):
        assert tuple(drawn[y, x]) == GREEN
    assert not changed(plain(400, 400), drawn)[130:270, 110:240].any()


def test_a_polygon_is_drawn_in_place_of_the_box() -> None:
    corners = np.array([[200.0, 100], [300, 200], [200, 300], [100, 200]])
    drawn = draw(plain(400, 400), [Mark(Box(100, 100, 200, 200), NO_POINTS, (), GREEN, corners)])
    for x, y in ((150, 150), (250, 150), (250, 250), (150, 250)):
        assert tuple(drawn[y, x]) == GREEN
    assert tuple(drawn[101, 110]) == (128, 128, 128)


def test_points_are_where_the_landmarks_are() -> None:
    points = np.array([[150.0, 170.0], [200.5, 170.25]])
    drawn = draw(plain(400, 400), [Mark(Box(100, 120, 150, 160), points, (), SKY)])
    inside = changed(plain(400, 400), drawn)[130:270, 110:240]
    count, _, _, centres = cv2.connectedComponentsWithStats(inside.astype(np.uint8))
    assert count == 3  # with the background
    np.testing.assert_allclose(centres[1:], points - (110, 130), atol=0.6)


@pytest.mark.parametrize("shade", [WHITE, BLACK])
def test_captions_are_legible_on_light_and_dark(shade: int) -> None:
    image = plain(600, 400, shade)
    box = Box(200, 50, 150, 180)
    drawn = draw(image, [Mark(box, NO_POINTS, ("face 99.9 %", "38-46 years"))])
    panel = drawn[changed(draw(image, [Mark(box, NO_POINTS, ())]), drawn)].mean(1)
    assert panel.max() > 200
    assert np.median(panel) < 75
    frame = drawn[60:220, 195:206].astype(int)
    assert (np.abs(frame - shade).max(2).max(1) > 100).all()


def test_captions_hide_no_face_and_no_other_caption() -> None:
    image = plain(1200, 500)
    faces = [Box(80 + 180 * i, 150, 90, 120) for i in range(6)]
    marks = [Mark(face, NO_POINTS, ("face 99.9 %", "38-46 years, female")) for face in faces]
    one_by_one = [changed(draw(image, [Mark(m.box, m.points, ())]), draw(image, [m])) for m in marks]
    together = changed(draw(image, [Mark(m.box, m.points, ()) for m in marks]), draw(image, marks))
    for face in faces:
        x, y = int(face.left), int(face.top)
        assert not together[y : y + 120, x : x + 90].any()
    # Where two captions lay over each other, fewer pixels than their sum would change.
    assert together.sum() > 0.97 * sum(each.sum() for each in one_by_one)


def test_captions_stay_inside_the_picture() -> None:
    image = plain(400, 300)
    for left, top in ((0, 0), (340, 0), (0, 220), (340, 220), (-30, -30), (380, 280)):
        box = Box(left, top, 60, 80)
        text = ("similarity 99.98 %",)
        with_text = draw(image, [Mark(box, NO_POINTS, text)])
        where = changed(draw(image, [Mark(box, NO_POINTS, ())]), with_text)
        elsewhere = changed(image, draw(image, [Mark(Box(150, 100, 60, 80), NO_POINTS, text)]))
        elsewhere &= ~changed(image, draw(image, [Mark(Box(150, 100, 60, 80), NO_POINTS, ())]))
        assert where.sum() > 0.9 * elsewhere.sum()


def test_letters_grow_with_the_picture() -> None:
    def height(scale: int) -> int:
        image = plain(600 * scale, 600 * scale)
        box = Box(200 * scale, 100 * scale, 200 * scale, 250 * scale)
        with_text = draw(image, [Mark(box, NO_POINTS, ("face",))])
        where = changed(draw(image, [Mark(box, NO_POINTS, ())]), with_text)
        return int(where.any(1).sum())

    assert height(4) == pytest.approx(4 * height(1), rel=0.1)


@pytest.mark.parametrize("size", [(80, 80), (80, 3000), (10_000, 80)])
@pytest.mark.parametrize("box", [Box(-500, -500, 20, 20), Box(0, 0, 1, 1), Box(-50, -50, 20_000, 20_000)])
def test_odd_sizes_can_be_drawn(size: tuple[int, int], box: Box) -> None:
    points = np.array([[-100.0, 5.0], [40.0, 40.0], [90_000.0, 1.0]])
    assert draw(plain(*size), [Mark(box, points, ("a long caption", "b"))]).shape == (size[1], size[0], 3)


def test_names_with_accents_are_drawn_without_them() -> None:
    image, box = plain(400, 300), Box(100, 50, 120, 150)
    accented = draw(image, [Mark(box, NO_POINTS, ("Zoë Müller",))])
    np.testing.assert_array_equal(accented, draw(image, [Mark(box, NO_POINTS, ("Zoe Muller",))]))
    np.testing.assert_array_equal(
        draw(image, [Mark(box, NO_POINTS, ("愛",))]), draw(image, [Mark(box, NO_POINTS, ("?",))])
    )


# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency",
# 2009, severity 1.0, on linear RGB.
DEFICIENCIES = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colours_differ_for_the_colour_blind(deficiency: str) -> None:
    linear = (np.array(PALETTE) / 255) ** 2.2
    seen = np.clip(linear @ np.array(DEFICIENCIES[deficiency]).T, 0, 1) ** (1 / 2.2)
    lab = cv2.cvtColor(seen.astype(np.float32)[None], cv2.COLOR_RGB2LAB)[0]
    distances = [float(np.linalg.norm(a - b)) for a, b in combinations(lab, 2)]
    assert min(distances) > 10  # 2.3 is just noticeable (Mahy et al. 1994)
