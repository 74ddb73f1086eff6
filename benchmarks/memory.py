"""How much memory a server takes when no two pictures have the same size.

python -m benchmarks.memory
"""

import io
import random
from concurrent.futures import ThreadPoolExecutor

from PIL import Image
from rich.console import Console

from benchmarks.serving import peak_memory
from regard.demo import temporary_server
from regard.settings import Settings
from regard.vision import models

PICTURES = 480
REPORT_EVERY = 80
CLIENTS = 8
SIDES = (200, 2000)


def main() -> None:
    console, chance = Console(), random.Random(0)
    with Image.open(models.photos(Settings().cache)["obama2"]) as opened:
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


if __name__ == "__main__":
    main()
