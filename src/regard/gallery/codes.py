"""Half-precision codes of embeddings, scanned exhaustively with faiss."""

import faiss
import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 16  # vectors a block: what a removal may have to move, and the grain of parallel search

# |⟨q, x⟩ − ⟨q, x̃⟩| ≤ ‖q‖·‖x − x̃‖ for the code x̃ of x. Rounding to half precision errs by at most 2⁻¹¹ of each
# component (and 2⁻²⁵ below the normal range), hence 2⁻¹¹ in all for vectors of length one; the scan's float32
# sums and the subnormal part stay far below the rest of this margin.
ERROR = 2.0**-11 + 2e-5

_SPARE = 32  # candidates beyond the limit that are taken at once; more that are as close cost a second scan


class Codes:
    """Unit vectors of `dimension`, each under an int64 key, as float16.

    Not safe for writing while anyone else reads or writes; the owner locks.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._blocks: list[faiss.IndexScalarQuantizer] = []
        self._keys: list[NDArray[np.int64]] = []

    def __len__(self) -> int:
        return sum(len(keys) for keys in self._keys)

    @property
    def nbytes(self) -> int:
        """Bytes held for codes and keys."""
        return len(self) * (2 * self._dimension + 8)

    def put(self, keys: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Add vectors [n, d], replacing those whose keys [n], all different, are there."""
        self.remove(keys)
        start = 0
        while start < len(keys):
            block = self._roomiest()
            room = BLOCK - len(self._keys[block])
            part = slice(start, start + room)
            self._blocks[block].add(np.ascontiguousarray(vectors[part], np.float32))
            self._keys[block] = np.concatenate([self._keys[block], keys[part]])
            start += room

    def remove(self, keys: NDArray[np.int64]) -> None:
        """Drop the vectors under these keys [n]; unknown keys are ignored."""
        for number, known in enumerate(self._keys):
            positions = np.flatnonzero(np.isin(known, keys))
            if len(positions):
                self._blocks[number].remove_ids(faiss.IDSelectorBatch(positions))
                self._keys[number] = np.delete(known, positions)

    def candidates(self, probe: NDArray[np.float32], limit: int, floor: float) -> NDArray[np.int64]:
        """Keys of a superset of the `limit` vectors with the greatest inner product with `probe` [d], of those
        at `floor` or above. The probe must have length one.
        """
        # One query is one thread's work; a team of threads, which is set for each thread, would only wait.
        faiss.omp_set_num_threads(1)
        query = np.ascontiguousarray(probe, np.float32)[None]
        tops = [block.search(query, min(limit + _SPARE, len(keys))) for block, keys in self._filled()]
        scores = np.concatenate([score[0] for score, _ in tops]) if tops else np.empty(0, np.float32)
        if not len(scores):
            return np.empty(0, np.int64)
        threshold = floor - ERROR
        if len(scores) >= limit:
            threshold = max(threshold, float(np.partition(scores, -limit)[-limit]) - 2 * ERROR)
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

    def _roomiest(self) -> int:
        """The number of a block with room, added if there is none."""
        for number, keys in enumerate(self._keys):
            if len(keys) < BLOCK:
                return number
        self._blocks.append(
            faiss.IndexScalarQuantizer(self._dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        )
        self._keys.append(np.empty(0, np.int64))
        return len(self._blocks) - 1
