"""Regard's networks beside `face_recognition` (dlib) on the same photos, one at a time, all cores free.

    python -m benchmarks.rival

Makes a virtual environment for the rival, whose package is compiled on the way (some minutes, once).
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.figures import note
from benchmarks.serving import WIDTHS, photo
from regard.media.images import decode
from regard.settings import Settings
from regard.vision import models
from regard.vision.faces import FaceEngine

ROOT = Path(__file__).parent.parent
VENV = ROOT / ".venv-rival"
PACKAGES = ("face_recognition==1.3.0", "setuptools<81")  # its models' package imports pkg_resources
REPEATS = 7


def rival(photos: list[Path]) -> list[dict[str, float]]:
    """What `face_recognition` takes for each photo."""
    python = VENV / "bin" / "python"
    if not (VENV / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (VENV / "installed").touch()
    script = Path(__file__).with_name("rival_dlib.py")
    done = subprocess.run(
        [str(python), "-W", "ignore", str(script), *map(str, photos)], check=True, capture_output=True, text=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def own(engine: FaceEngine, path: Path) -> dict[str, float]:
    """What Regard's networks take for a photo."""
    image = decode(path.read_bytes())
    detect, embed = [], []
    for _ in range(REPEATS):
        started = time.perf_counter()
        found = engine.detect(image)
        middle = time.perf_counter()
        engine.embed(image, found)
        detect.append(middle - started)
        embed.append(time.perf_counter() - middle)
    return {
        "faces": len(found),
        "detect_ms": float(np.median(detect)) * 1000,
        "embed_ms": float(np.median(embed)) * 1000,
    }


def main() -> None:
    settings = Settings()
    sources = models.photos(settings.cache)
    table = Table(title="One picture at a time; embedding is of all faces found")
    for column in ("Photo", "Faces: Regard", "dlib", "Detect ms: Regard", "dlib", "Embed ms: Regard", "dlib"):
        table.add_column(column, justify="left" if column == "Photo" else "right")
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for width in WIDTHS:
            paths.append(Path(folder) / f"{width} px portrait.jpg")
            paths[-1].write_bytes(photo(width, sources))
        paths += sources.values()
        engine = FaceEngine.load(settings)
        for path, theirs in zip(paths, rival(paths), strict=True):
            ours = own(engine, path)
            if path.stem.endswith("portrait"):
                for step in ("detect", "embed"):
                    note(f"dlib / Regard, {path.stem}, time to {step}", theirs[f"{step}_ms"] / ours[f"{step}_ms"])
            cells = (f"{side[name]:.0f}" for name in ("faces", "detect_ms", "embed_ms") for side in (ours, theirs))
            table.add_row(path.stem, *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
