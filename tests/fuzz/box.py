"""A process that tries cases and may die of one: its memory is limited, and its end is found rather than suffered.

The parent sends a case and gets back what came of it; where no answer comes, the case is a fault.
"""

import importlib
import json
import os
import resource
import select
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.fuzz.engine import Fault

PATIENCE_S = 60.0  # on a busy machine; a case that is not done by then hangs
ADDRESS_SPACE = 6 * 1024**3
_LENGTH = struct.Struct(">I")


class Box:
    """A process in which `MODULE.tried(case)` is called for each case; started again where it ends."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None

    def tried(self, case: bytes) -> dict[str, Any]:
        """What `tried` gave, and: `cpu`, the seconds of CPU time; `memory`, by how many bytes the process was larger.

        Raises Fault for any exception, for an end of the process, and for a case that hangs.
        """
        process = self._process or self._start()
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.write(_LENGTH.pack(len(case)) + case)
            process.stdin.flush()
        answer = self._read(process)
        if "fault" in answer:
            raise Fault(answer["fault"])
        return answer

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> "subprocess.Popen[bytes]":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.box", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            env=os.environ | {"OPENCV_LOG_LEVEL": "OFF", "OPENCV_FFMPEG_LOGLEVEL": "-8"},
        )
        return self._process

    def _read(self, process: "subprocess.Popen[bytes]") -> dict[str, Any]:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE_S)
        line = process.stdout.readline() if ready else b""
        if not line:
            status = process.poll() if ready else None
            if ready and status is None:
                status = process.wait(10)
            self.close()
            raise Fault(f"the process ended with {status}" if ready else f"no answer within {PATIENCE_S:.0f} s")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _serve(module: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    output = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)  # decoders write what they think of a file
    os.dup2(nothing, 2)
    tried = importlib.import_module(module).tried
    while head := sys.stdin.buffer.read(_LENGTH.size):
        case = sys.stdin.buffer.read(_LENGTH.unpack(head)[0])
        before, began = _resident("VmRSS"), time.process_time()
        _forget_peak()
        try:
            answer: dict[str, Any] = tried(case)
            answer |= {"cpu": time.process_time() - began, "memory": max(0, _resident("VmHWM") - before)}
        except Exception as error:
            answer = {"fault": f"{type(error).__name__}: {error}"[:2000]}
        output.write(json.dumps(answer).encode() + b"\n")
        output.flush()


def _resident(name: str) -> int:
    """A size of this process in bytes: VmRSS is now, VmHWM was the largest."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def _forget_peak() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    _serve(sys.argv[1])
