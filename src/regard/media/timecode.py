"""SMPTE timecodes: frames counted as hours, minutes, seconds and frames (SMPTE ST 12-1).

At 30/1.001 frames a second, and multiples of it, 30 numbers are given to what is not quite a second, and the clock
runs behind. Drop-frame timecode makes up for it by leaving out numbers, never frames: the first two of each minute
but every tenth. At 60/1.001 it is four.
"""

_SECONDS = 60
_MINUTES = 60
_TENTH = 10
_DROPPED_PER_30 = 2
# A rate this near to a multiple of 30/1.001 is one; files round it to 29.97, and a measured one is never exact.
_TOLERANCE = 0.005
_NTSC = 30 / 1.001


def nominal(frame_rate: float) -> int:
    """The number of frames that a second of the timecode has, one at least."""
    return max(1, round(frame_rate))


def is_drop_frame(frame_rate: float) -> bool:
    """Whether timecodes at this rate leave out numbers: at 29.97 and 59.94, not at 23.976, which has no such rule."""
    multiple = round(frame_rate / _NTSC)
    return multiple > 0 and abs(frame_rate / multiple - _NTSC) < _TOLERANCE


def timecode(frame: int, frame_rate: float) -> str:
    """The timecode `HH:MM:SS:FF` of a frame, counted from 0; `HH:MM:SS;FF` in drop-frame. Hours do not wrap."""
    rate = nominal(frame_rate)
    drop = is_drop_frame(frame_rate)
    number = frame + _left_out(frame, rate) if drop else frame
    seconds, frames = divmod(number, rate)
    minutes, seconds = divmod(seconds, _SECONDS)
    hours, minutes = divmod(minutes, _MINUTES)
    digits = max(2, len(str(rate - 1)))
    return f"{hours:02}:{minutes:02}:{seconds:02}{';' if drop else ':'}{frames:0{digits}}"


def frame_number(code: str, frame_rate: float) -> int:
    """The frame of a timecode, the inverse of `timecode`.

    Raises ValueError for what no frame at this rate has for its timecode.
    """
    rate = nominal(frame_rate)
    drop = is_drop_frame(frame_rate)
    head, separator, frames = code.rpartition(";" if drop else ":")
    parts = head.split(":")
    if not separator or len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in (*parts, frames)):
        raise ValueError(f"{code} is not a timecode at {frame_rate:g} frames a second")
    hours, minutes, seconds = map(int, parts)
    if minutes >= _MINUTES or seconds >= _SECONDS or int(frames) >= rate:
        raise ValueError(f"{code} is not a timecode at {frame_rate:g} frames a second")
    minute = hours * _MINUTES + minutes
    number = (minute * _SECONDS + seconds) * rate + int(frames)
    if not drop:
        return number
    dropped = _dropped(rate)
    if seconds == 0 and int(frames) < dropped and minutes % _TENTH:
        raise ValueError(f"{code} is left out in drop-frame timecode")
    return number - dropped * (minute - minute // _TENTH)


def _dropped(rate: int) -> int:
    return _DROPPED_PER_30 * rate // 30


def _left_out(frame: int, rate: int) -> int:
    """How many numbers have been left out up to a frame."""
    dropped = _dropped(rate)
    per_minute = rate * _SECONDS - dropped  # of the nine that leave numbers out
    per_tenth = per_minute * _TENTH + dropped
    tenths, rest = divmod(frame, per_tenth)
    minutes = max(0, rest - dropped) // per_minute
    return dropped * (tenths * (_TENTH - 1) + minutes)
