"""All targets by name, and how many cases of each the suite tries."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import documents, images, pictures, protocol, requests, signatures, videos
from tests.fuzz.engine import Target


@dataclass(frozen=True)
class Known:
    """`opened(folder)` is the target, with all that it needs in an empty folder."""

    opened: Callable[[Path], AbstractContextManager[Target]]
    cases: int


TARGETS = {
    "signatures": Known(signatures.opened, 10_000),
    "documents": Known(documents.opened, 4_000),
    "images": Known(images.opened, 5_000),
    "pictures": Known(pictures.opened, 100),
    "videos": Known(videos.opened, 1_500),
    "requests": Known(requests.opened, 1_500),
    "protocol": Known(protocol.opened, 500),
}
