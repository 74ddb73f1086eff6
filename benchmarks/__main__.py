"""All benchmarks, one after the other."""

import os

from rich.console import Console

from benchmarks import gallery, memory, networks, overload, rival, serving, use, video

if __name__ == "__main__":
    with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 — not a file of ours
        names = {line.split(":")[1].strip() for line in file if line.startswith("model name")}
    Console().print(f"{os.cpu_count()} cores of {', '.join(sorted(names))}")
    networks.main()
    serving.main()
    overload.main()
    memory.main()
    video.main()
    gallery.main()
    rival.main()
    use.main()
