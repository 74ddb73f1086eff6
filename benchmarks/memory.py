"""How much memory a server takes when no two pictures have the same size, and each capability alone.

python -m benchmarks.memory
"""

import io
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image
from rich.console import Console

from benchmarks.figures import note
from benchmarks.serving import peak_memory
from regard.demo import temporary_server
from regard.settings import Settings
from regard.vision import models
from regard.vision.engines import NETWORKS

PICTURES = 480
REPORT_EVERY = 80
CLIENTS = 8
SIDES = (200, 2000)


_ALONE = """
import sys
from regard.look import SIGHTS
from regard.media.images import decode
from regard.settings import Settings
from regard.vision.engines import Engines
SIGHTS[sys.argv[1]](Engines(Settings()), decode(open(sys.argv[2], "rb").read()))
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def alone(capability: str, photo: Path) -> float:
    """The most memory in MB of a process that loads a capability's networks and looks at one photo."""
    done = subprocess.run(
        [sys.executable, "-c", _ALONE, capability, str(photo)], check=True, capture_output=True, text=True
    )
    return int(done.stdout) / 1024


def main() -> None:
    console, chance = Console(), random.Random(0)
    photos = models.photos(Settings().cache)
    for capability in NETWORKS:
        console.print(f"{capability} alone: {alone(capability, photos['astronaut']):.0f} MB at most")
    with Image.open(photos["obama2"]) as opened:
        photo = opened.convert("RGB")

    def picture() -> bytes:
        buffer = io.BytesIO()
        photo.resize((chance.randint(*SIDES), chance.randint(*SIDES))).save(buffer, "JPEG")
        return buffer.getvalue()

    with temporary_server(Settings()) as server, ThreadPoolExecutor(CLIENTS) as threads:
        client = server.client()
        console.print(f"{peak_memory(server.pid):.0f} MB when ready")
        for done in range(REPORT_EVERY, PICTURES + 1, REPORT_EVERY):
            pictures = [picture() for _ in range(REPORT_EVERY)]
            for _ in threads.map(lambda data: client.detect_faces(Image={"Bytes": data}), pictures):
                pass
            console.print(f"{peak_memory(server.pid):.0f} MB at most after {done} pictures")
        note("memory after 480 pictures of as many sizes".replace("480", str(PICTURES)), peak_memory(server.pid), "MB")


if __name__ == "__main__":
    main()
