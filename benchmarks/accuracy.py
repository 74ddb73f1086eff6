"""How right the server is, asked through boto3 as any client would.

    python -m benchmarks.accuracy EVALUATION_DATA

Labeled Faces in the Wild: CompareFaces of each pair; the pair's score is the best Similarity of a face in the
target picture. Detection: DetectFaces of every picture of LFW and of every FairFace crop.
"""

import csv
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from regard.demo import temporary_server
from regard.evaluate.statistics import Bools, Floats, best_threshold
from regard.settings import Settings


def pairs(folder: Path, every: int = 1) -> tuple[list[tuple[Path, Path]], Bools]:
    """The pictures of LFW's pairs, and whether each pair is one person; every nth of them."""
    with (folder / "lfw" / "pairs.csv").open() as file:
        rows = list(csv.DictReader(file))[::every]
    return [(folder / "lfw" / row["a"], folder / "lfw" / row["b"]) for row in rows], np.array(
        [row["same"] == "1" for row in rows]
    )


def similarity(client: Any, source: Path, target: Path) -> float:
    """The best Similarity between the main face of one picture and the faces of another."""
    response = client.compare_faces(
        SourceImage={"Bytes": source.read_bytes()}, TargetImage={"Bytes": target.read_bytes()}, SimilarityThreshold=0
    )
    return float(response["FaceMatches"][0]["Similarity"])


def faces(client: Any, picture: Path) -> int:
    """The number of faces that DetectFaces finds."""
    return len(client.detect_faces(Image={"Bytes": picture.read_bytes()})["FaceDetails"])


def in_parallel(work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """The results of `work` for each item, a client per core."""
    with ThreadPoolExecutor(Settings().threads) as threads:
        return list(threads.map(work, items))


def best_accuracy(scores: Floats, same: Bools) -> tuple[float, float]:
    """The share of pairs that the best single threshold gets right, and the threshold."""
    threshold = best_threshold(scores, same)
    return float(((scores >= threshold) == same).mean()), threshold


def main() -> None:
    console, folder = Console(), Path(sys.argv[1])
    with temporary_server(Settings()) as server:
        client = server.client()
        pictures, same = pairs(folder)
        scores = np.array(in_parallel(lambda pair: similarity(client, *pair), pictures))
        accuracy, threshold = best_accuracy(scores, same)
        console.print(f"LFW, {len(same)} pairs: {accuracy:.2%} at the best threshold, Similarity {threshold:.1f}")
        for at in (50, 80, 90, 99):
            console.print(
                f"  Similarity {at}: {(scores[same] >= at).mean():.1%} of the same person, "
                f"{(scores[~same] >= at).sum()} of {(~same).sum()} pairs of strangers"
            )
        for name, pattern in (("LFW", "lfw/*/*.jpg"), ("FairFace", "fairface/*.jpg")):
            files = sorted(folder.glob(pattern))
            counts = np.array(in_parallel(lambda file: faces(client, file), files))
            console.print(f"{name}: a face found in {(counts > 0).sum()} of {len(files)} pictures")


if __name__ == "__main__":
    main()
