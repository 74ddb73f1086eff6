"""Beginning the review of a result by people: what they are to look over, and the picture that they look at.

Pictures are not kept otherwise. For a review a small copy is, sealed, until it is decided or its time is over.
"""

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from regard.operations.context import Context
from regard.store import reviews
from regard.store.reviews import Review
from regard.vision.geometry import resize

PICTURE_SIDE = 800  # pixels of the longer side of what reviewers see
PICTURE_QUALITY = 85
PICTURE_KEPT = timedelta(days=30)
_ID_BYTES = 12


@dataclass(frozen=True, slots=True)
class Question:
    """What people are asked. `candidates` each have an `id`; `control` marks one that is known to be wrong."""

    kind: str
    operation: str
    resource: str
    rule: str
    mode: str
    quorum: int
    digest: bytes
    candidates: Sequence[Mapping[str, Any]]


def begin(
    context: Context,
    connection: Connection,
    question: Question,
    pixels: NDArray[np.uint8] | None,
    asked_by: str | None = None,
) -> Review:
    """The review of a request: a new one, or the one that there is of it. `pixels` are RGB uint8 [h, w, 3].
    `asked_by` is the access key that may not review, the caller's unless another is named."""
    values = {
        "review_id": f"r-{secrets.token_hex(_ID_BYTES)}",
        "account_id": context.principal.account_id,
        "access_key_id": asked_by or context.principal.access_key_id,
        "kind": question.kind,
        "operation": question.operation,
        "resource": question.resource,
        "rule": question.rule,
        "mode": question.mode,
        "quorum": question.quorum,
        "request_digest": question.digest,
        "candidates": list(question.candidates),
    }
    sealed = None
    if pixels is not None:
        text = base64.b64encode(small(pixels)).decode()
        sealed = context.services.sealer.seal(text, picture_context(context.principal.account_id, question.digest))
    return reviews.begin(connection, values, sealed, PICTURE_KEPT)


def small(pixels: NDArray[np.uint8]) -> bytes:
    """A JPEG of the picture, at most `PICTURE_SIDE` pixels a side."""
    height, width = pixels.shape[:2]
    scale = min(1.0, PICTURE_SIDE / max(height, width))
    shown = resize(pixels, max(1, round(width * scale)), max(1, round(height * scale)))
    options = [cv2.IMWRITE_JPEG_QUALITY, PICTURE_QUALITY]
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(shown, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise RuntimeError("a picture cannot be written as JPEG")
    return encoded.tobytes()


def picture_context(account_id: str, digest: bytes) -> str:
    """What a sealed picture is bound to."""
    return f"review {account_id} {digest.hex()}"
