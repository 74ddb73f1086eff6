"""All benchmarks, one after the other, and one table of their figures beside the goals.

    python -m benchmarks [NAME …]

runs all, some three hours, or those of the names. Each runs in a process of its own and prints its own tables, too; one
that fails is said to have failed, and the others go on. Exit status 1 where one failed; a missed goal is no failure but
in `endurance` and `faults`, which judge theirs themselves.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import figures

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
    failed, started = [], time.monotonic()
    chosen = list(names or RUNS)
    with tempfile.TemporaryDirectory(prefix="regard-") as folder:
        file = Path(folder, "figures")
        file.touch()
        for number, name in enumerate(chosen, start=1):
            minutes = (time.monotonic() - started) / 60
            console.rule(f"{number} of {len(chosen)}: {name}, after {minutes:.0f} minutes")
            module, *arguments = RUNS[name] or (name,)
            command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
            if subprocess.run(command, check=False, env=os.environ | {figures.FILE: str(file)}).returncode:
                failed.append(name)
        found = figures.read(file)
    console.print(figures.table(f"{os.cpu_count()} cores of {_processor()}", found))
    for name in failed:
        console.print(f"[red]{name} failed or missed a goal that is its own to judge: see above", highlight=False)
    return int(bool(failed))


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 — not a file of ours
        return ", ".join(sorted({line.split(":")[1].strip() for line in file if line.startswith("model name")}))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
