"""An editor types the timecode into his program and stands on the very frame that was meant."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.media.timecode import frame_number, is_drop_frame, timecode

NTSC = 30000 / 1001
RATES = (10.0, 12.0, 15.0, 24000 / 1001, 24.0, 25.0, NTSC, 29.97, 30.0, 50.0, 60000 / 1001, 59.94, 60.0, 119.88)
DROPPING = (NTSC, 29.97, 60000 / 1001, 59.94, 119.88)
frames = st.integers(0, 24 * 3600 * 120)


@pytest.mark.parametrize(
    ("frame", "rate", "expected"),
    [
        (0, 25, "00:00:00:00"),
        (83, 25, "00:00:03:08"),
        (90000, 25, "01:00:00:00"),
        (299, NTSC, "00:00:09;29"),
        (449, NTSC, "00:00:14;29"),
        (1799, NTSC, "00:00:59;29"),
        (1800, NTSC, "00:01:00;02"),
        (3597, NTSC, "00:01:59;29"),
        (3598, NTSC, "00:02:00;02"),
        (17981, NTSC, "00:09:59;29"),
        (17982, NTSC, "00:10:00;00"),
        (107892, NTSC, "01:00:00;00"),
        (3599, 60000 / 1001, "00:00:59;59"),
        (3600, 60000 / 1001, "00:01:00;04"),
        (215784, 60000 / 1001, "01:00:00;00"),
        (1800, 30, "00:01:00:00"),
        (1439, 24000 / 1001, "00:00:59:23"),
        (1440, 24000 / 1001, "00:01:00:00"),
    ],
)
def test_known_timecodes(frame: int, rate: float, expected: str) -> None:
    assert timecode(frame, rate) == expected
    assert frame_number(expected, rate) == frame


@given(frame=frames, rate=st.sampled_from(RATES))
def test_a_timecode_leads_back_to_its_frame(frame: int, rate: float) -> None:
    assert frame_number(timecode(frame, rate), rate) == frame


@given(frame=frames, rate=st.sampled_from(RATES))
def test_the_next_frame_has_the_next_number_but_where_numbers_are_left_out(frame: int, rate: float) -> None:
    here, following = timecode(frame, rate), timecode(frame + 1, rate)
    (*clock, number), (*later, after) = (tuple(map(int, re.split("[:;]", code))) for code in (here, following))
    assert clock <= later
    if clock == later:
        assert after == number + 1
    else:
        left_out = is_drop_frame(rate) and later[2] == 0 and later[1] % 10 != 0
        assert (number, after) == (round(rate) - 1, 2 * round(rate / 30) if left_out else 0)


@given(minute=st.integers(0, 24 * 60 - 1), rate=st.sampled_from(DROPPING))
def test_numbers_are_left_out_at_each_minute_but_the_tenth(minute: int, rate: float) -> None:
    dropped = 2 * round(rate / 30)
    for number in range(dropped):
        code = f"{minute // 60:02}:{minute % 60:02}:00;{number:02}"
        if minute % 10:
            with pytest.raises(ValueError, match="left out"):
                frame_number(code, rate)
        else:
            assert timecode(frame_number(code, rate), rate)[:9] == code[:9]


@given(hour=st.integers(1, 48))
def test_drop_frame_keeps_the_time_of_day(hour: int) -> None:
    seconds = frame_number(f"{hour:02}:00:00;00", NTSC) / NTSC
    assert abs(seconds - 3600 * hour) < 0.004 * hour


def test_only_multiples_of_29_97_drop() -> None:
    assert all(is_drop_frame(rate) for rate in DROPPING)
    assert not any(is_drop_frame(rate) for rate in RATES if rate not in DROPPING)
    assert not is_drop_frame(0.0)


@pytest.mark.parametrize(
    "code", ["", "00:00:00", "00:00:00:25", "00:60:00:00", "00:00:60:00", "0a:00:00:00", "1:2:3;4"]
)
def test_what_is_no_timecode_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match="is not a timecode"):
        frame_number(code, 25)
