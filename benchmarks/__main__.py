"""All benchmarks, one after the other, and one table of their figures beside the goals.

    python -m benchmarks [NAME …]

runs all, some three hours, or those of the names. Each runs in a process of its own and prints its own tables, too; one
that fails is said to have failed, and the others go on. Figures are kept in `out/figures`, so that three hours need not
be had at once: the table has the newest of each benchmark on this machine, with the time and the revision that they are
of. Exit status 1 where one failed; a missed goal is no failure but in `endurance` and `faults`, which judge theirs
themselves.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Console

from benchmarks import figures
from benchmarks.figures import Measurement

KEPT = Path(__file__).parent.parent / "out" / "figures"
RUNS: dict[str, Sequence[str]] = {
    "networks": (),
    "serving": (),
    "overload": (),
    "memory": (),
    "video": (),
    "long": ("video", "long", "labels"),
    "rivals": ("gallery", "100000", "--rivals"),
    "gallery": ("gallery", "1000000"),
    "large": ("gallery", "20000000", "--direct"),
    "use": ("use", "100000"),
    "audit": ("audit", "500000"),
    "cluster": (),
    "rival": (),
    "endurance": ("endurance", "60"),
    "faults": ("faults", "30"),
}
"""The module of each and its arguments; without any, the module of that name."""


def main(names: Sequence[str]) -> int:
    console = Console()
    if unknown := set(names) - set(RUNS):
        console.print(f"{', '.join(sorted(unknown))}: not one of {', '.join(RUNS)}")
        return 2
    started, chosen, machine = time.monotonic(), list(names or RUNS), _machine()
    failed = False
    for number, name in enumerate(chosen, start=1):
        minutes = (time.monotonic() - started) / 60
        console.rule(f"{number} of {len(chosen)}: {name}, after {minutes:.0f} minutes")
        measurement = _measure(name, machine)
        measurement.keep(KEPT / f"{name}.json")
        failed |= measurement.failed
    kept = {name: Measurement.kept(KEPT / f"{name}.json") for name in RUNS}
    console.print(figures.table(machine, {name: m for name, m in kept.items() if m and m.machine == machine}))
    return int(failed)


def _measure(name: str, machine: str) -> Measurement:
    """Run a benchmark, and what it noted."""
    began = datetime.now().astimezone().isoformat(timespec="minutes")
    module, *arguments = RUNS[name] or (name,)
    with tempfile.TemporaryDirectory(prefix="regard-") as folder:
        file = Path(folder, "figures")
        file.touch()
        command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
        done = subprocess.run(command, check=False, env=os.environ | {figures.FILE: str(file)})
        return Measurement(machine, began, _revision(), done.returncode != 0, figures.read(file))


def _revision() -> str:
    """The commit, and whether files differ from it; empty outside a repository."""
    command = ["git", "-C", str(KEPT.parent.parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()


def _machine() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 — not a file of ours
        models = sorted({line.split(":")[1].strip() for line in file if line.startswith("model name")})
    return f"{os.cpu_count()} cores of {', '.join(models)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
