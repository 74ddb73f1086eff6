"""`python -m tests.fuzz [TARGET…]`: tries cases that nobody has tried yet, and puts what fails into the corpus."""

import argparse
import itertools
import secrets
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import engine
from tests.fuzz.targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; default: all, in turn")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target (1)")
    parser.add_argument("--cases", type=int, help="for each target, instead of a time")
    parser.add_argument("--seed", type=int, help="the cases of an earlier run again; default: others each time")
    parser.add_argument("--file", type=Path, help="try this one case of the target and say what comes of it")
    chosen = parser.parse_args()
    seed = secrets.randbelow(2**32) if chosen.seed is None else chosen.seed
    failed = False
    if unknown := set(chosen.targets) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    for name in chosen.targets or TARGETS:
        with tempfile.TemporaryDirectory(prefix="regard-fuzz-") as folder, TARGETS[name].opened(Path(folder)) as target:
            cases = (engine.made(target, name, seed, number) for number in itertools.count())
            if chosen.file:
                cases = iter([chosen.file.read_bytes()])
            end = time.monotonic() + 60 * chosen.minutes
            tally = engine.run(
                target,
                cases,
                lambda tally, end=end: tally.cases < chosen.cases if chosen.cases else time.monotonic() < end,
            )
        sys.stdout.write(f"{name}, seed {seed}: {tally}\n")
        for case, fault in tally.faults.items():
            failed = True
            sys.stdout.write(f"  {engine.keep(name, case)}: {fault}\n    {engine.shown(case)}\n")
        sys.stdout.flush()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
