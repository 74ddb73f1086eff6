"""Whether the same person is searched for again and again, without keeping whom.

Of a search's embedding only a signature is kept: on which side of 256 random planes it lies (Charikar 2002,
"Similarity Estimation Techniques from Rounding Algorithms"). Two embeddings at an angle of θ differ in a bit with
probability θ/π. The planes are drawn from the master key, anew for each account and period, so that a signature tells
nothing without the key and nothing about another period; after two days it is deleted.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BITS = 256

# Two pictures of one person are counted as one where the cosine of their embeddings is about 0.5 or more;
# `python -m benchmarks.use` prints how many pairs that finds and how many strangers it takes for each other.
SAME_PERSON_COSINE = 0.5
RADIUS = round(BITS * float(np.arccos(SAME_PERSON_COSINE) / np.pi))

_PLANES_KEPT = 64


@lru_cache(maxsize=_PLANES_KEPT)
def _planes(key: bytes, dimension: int) -> NDArray[np.float32]:
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(key)))
    return generator.standard_normal((BITS, dimension), np.float32)


def signature(embedding: NDArray[np.float32], key: bytes) -> str:
    """The signature of an embedding [d] under a key of 32 bytes, as zeros and ones."""
    sides = _planes(key, len(embedding)) @ embedding > 0
    return "".join("01"[side] for side in sides.tolist())
