"""Runs a target over cases and keeps what fails."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol

CORPUS = Path(__file__).parent / "corpus"
SHOWN_BYTES = 300


class Fault(AssertionError):
    """What must hold did not; the text says what came instead."""


class Target(Protocol):
    """What is tried. The same random numbers give the same case, and a case can be tried again at any time."""

    def generate(self, random: Random) -> bytes:
        """A case."""

    def check(self, case: bytes) -> str:
        """The kind of outcome, for the statistics. Any exception is a fault."""


@dataclass
class Tally:
    """What came of many cases. `slowest` is in seconds."""

    cases: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    outcomes: "Counter[str]" = field(default_factory=Counter)
    faults: dict[bytes, str] = field(default_factory=dict)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.outcomes.most_common())
        told = f"{self.cases} cases in {self.seconds:.1f} s, slowest {self.slowest:.2f} s"
        return f"{told}, {len(self.faults)} faults: {kinds}"


def made(target: Target, name: str, seed: int, number: int) -> bytes:
    """Case `number` of a seed, whatever was made before."""
    return target.generate(Random(f"{name} {seed} {number}"))


def run(target: Target, cases: Iterator[bytes], goes_on: Callable[[Tally], bool]) -> Tally:
    """Tries cases as long as it `goes_on`; different faults are kept, of those alike the first."""
    tally, seen = Tally(), set[str]()
    begin = time.monotonic()
    for case in cases:
        if not goes_on(tally):
            break
        started = time.monotonic()
        try:
            outcome = target.check(case)
        except Exception as fault:
            outcome = f"FAULT {type(fault).__name__}"
            alike = f"{type(fault).__name__} {str(fault)[:60]}"
            if alike not in seen:
                seen.add(alike)
                tally.faults[case] = f"{type(fault).__name__}: {fault}"
        tally.outcomes[outcome] += 1
        tally.cases += 1
        tally.slowest = max(tally.slowest, time.monotonic() - started)
        tally.seconds = time.monotonic() - begin
    return tally


def kept(name: str) -> list[Path]:
    """The cases of a target that once failed."""
    return sorted((CORPUS / name).glob("*"))


def keep(name: str, case: bytes) -> Path:
    """Puts a case into the corpus."""
    file = CORPUS / name / hashlib.sha256(case).hexdigest()[:16]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(case)
    return file


def shown(case: bytes) -> str:
    """The beginning of a case."""
    return repr(case[:SHOWN_BYTES]) + (f" … ({len(case)} bytes)" if len(case) > SHOWN_BYTES else "")
