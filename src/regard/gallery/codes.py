"""Half-precision codes of embeddings, scanned exhaustively with faiss."""

import faiss
import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 16  # vectors a block: what a removal may have to move, and the grain of parallel search

# |⟨q, x⟩ − ⟨q, x̃⟩| ≤ ‖q‖·‖x − x̃‖ for the code x̃ of x. Rounding to half precision errs by at most 2⁻¹¹ of each
# component (and 2⁻²⁵ below the normal range), hence by 2⁻¹¹·‖x‖ in all; the scan's float32 sums and the
# subnormal part stay far below the rest of this margin. So this times ‖q‖·‖x‖, where ‖x‖ is 1 or more, bounds it.
ERROR = 2.0**-11 + 2e-5

_LANES = 16  # faiss scans with AVX-512 only what fills whole registers; the rest of a vector is zeros

_SPARE = 32  # candidates beyond the limit that are taken at once; more that are as close cost a second scan


class Codes:
    """Vectors of `dimension`, of about length one, each under an int64 key, as float16.

    Not safe for writing while anyone else reads or writes; the owner locks.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._width = -(-dimension // _LANES) * _LANES
        self._longest = 1.0  # the greatest length of a vector that was ever put
        self._blocks: list[faiss.IndexScalarQuantizer] = []
        self._keys: list[NDArray[np.int64]] = []

    def __len__(self) -> int:
        return sum(len(keys) for keys in self._keys)

    @property
    def nbytes(self) -> int:
        """Bytes held for codes and keys."""
        return len(self) * (2 * self._width + 8)

    def put(self, keys: NDArray[np.int64], vectors: NDArray[np.floating]) -> None:
        """Add vectors [n, d], replacing those whose keys [n], all different, are there."""
        self.remove(keys)
        self._longest = max(self._longest, float(np.linalg.norm(vectors, axis=1).max(initial=0)))
        padded = self._padded(vectors)
        start = 0
        while start < len(keys):
            block = self._roomiest()
            room = BLOCK - len(self._keys[block])
            part = slice(start, start + room)
            self._blocks[block].add(padded[part])
            self._keys[block] = np.concatenate([self._keys[block], keys[part]])
            start += room

    def remove(self, keys: NDArray[np.int64]) -> None:
        """Drop the vectors under these keys [n]; unknown keys are ignored."""
        for number, known in enumerate(self._keys):
            positions = np.flatnonzero(np.isin(known, keys))
            if len(positions):
                self._blocks[number].remove_ids(faiss.IDSelectorBatch(positions))
                self._keys[number] = np.delete(known, positions)

    def candidates(self, probe: NDArray[np.floating], limit: int, floor: float) -> NDArray[np.int64]:
        """Keys of a superset of the `limit` vectors with the greatest inner product with `probe` [d], of those
        at `floor` or above.
        """
        # One query is one thread's work; a team of threads, which is set for each thread, would only wait.
        faiss.omp_set_num_threads(1)
        query = self._padded(probe[None])
        error = ERROR * float(np.linalg.norm(probe)) * self._longest
        tops = [block.search(query, min(limit + _SPARE, len(keys))) for block, keys in self._filled()]
        scores = np.concatenate([score[0] for score, _ in tops]) if tops else np.empty(0, np.float32)
        if not len(scores):
            return np.empty(0, np.int64)
        threshold = floor - error
        if len(scores) >= limit:
            threshold = max(threshold, float(np.partition(scores, -limit)[-limit]) - 2 * error)
        found = []
        for (block, keys), (score, position) in zip(self._filled(), tops, strict=True):
            if len(score[0]) < len(keys) and score[0][-1] > threshold:  # more of this block may qualify
                _, score, position = block.range_search(query, threshold)
                found.append(keys[position])
            else:
                found.append(keys[position[0][score[0] >= threshold]])
        return np.concatenate(found)

    def _filled(self) -> "list[tuple[faiss.IndexScalarQuantizer, NDArray[np.int64]]]":
        return [(block, keys) for block, keys in zip(self._blocks, self._keys, strict=True) if len(keys)]

    def _padded(self, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
        """Vectors [n, d] as float32 [n, width], with zeros at their ends."""
        padded = np.zeros((len(vectors), self._width), np.float32)
        padded[:, : self._dimension] = vectors
        return padded

    def _roomiest(self) -> int:
        """The number of a block with room, added if there is none."""
        for number, keys in enumerate(self._keys):
            if len(keys) < BLOCK:
                return number
        self._blocks.append(
            faiss.IndexScalarQuantizer(self._width, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        )
        self._keys.append(np.empty(0, np.int64))
        return len(self._blocks) - 1
