"""Compact codes of embeddings that find, for certain, a superset of the best matches.

A vector is kept as a length, a direction, and its last two dimensions as they are (there a cohort's
normalisation puts values unlike the others). The direction, rotated so that its components are alike, has two
codes: a sketch of 4 bits a component, which faiss scans from tables in registers ("FastScan", André et al.
2015), and one of 8 bits for what the sketch cannot rule out. How far each code is from the vector is kept with
it. By Cauchy and Schwarz |⟨q, x⟩ − ⟨q, x̃⟩| ≤ ‖q‖·‖x − x̃‖, so a code gives bounds of the score, not a guess.
Of every 32 vectors the extremes of what bounds them are kept, too: with a cohort most groups are ruled out by
those.
"""

import math
from collections.abc import Sequence
from functools import cache

import faiss
import numpy as np
from numpy.typing import NDArray

from regard.gallery.parallel import in_parallel

BLOCK = 1 << 17  # vectors a block: the grain of parallel search
BEST = 1024  # of a block's sketches are looked at in any case; one of no more than twice as many is not sketched
APART = 2  # last dimensions that are kept as they are

# What float32 arithmetic errs, and what the caller's vectors may, as a share of the product of both lengths.
SLACK = 1e-4

_LEVELS = 16
_SPACING = 0.3352  # of standard deviations: the best for 16 equal steps of a normal distribution (Max 1960)
_GROUP = 32  # vectors whose sketches faiss interleaves
_ONE_QUERY = 15  # faiss' way to the best of many for one query; with AVX-512 its usual one takes half as long again
_FEW = 16  # groups are picked if no more than one in so many is left; else all facts are read, one after the other
_ROWS = 1 << 10  # vectors that are worked on at once, so that they stay in the processor's cache
_FEWEST = 64  # room in a new block

# Rows of a block's facts: the dimensions that are kept as they are; the length; and, times the length, how far the
# sketch is from the direction, how far its code of 8 bits is, and what a step of that code is.
_TAIL = slice(0, APART)
_LENGTH, _SKETCH_ERROR, _BYTE_ERROR, _STEP = range(APART, APART + 4)
_BOUNDING = _SKETCH_ERROR + 1  # the first so many bound a score from a sketch
_FACTS = APART + 4

Floats = NDArray[np.float32]


class Codes:
    """Vectors of `dimension`, of about length one, each under an int64 key.

    Not safe for writing while anyone else reads or writes; the owner locks.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._rotation = _rotation(dimension - APART)
        self._longest = 1.0  # the greatest length of a vector that was ever put
        self._blocks: list[_Block] = []

    def __len__(self) -> int:
        return sum(len(block) for block in self._blocks)

    @property
    def nbytes(self) -> int:
        """Bytes held for codes and keys."""
        return sum(block.nbytes for block in self._blocks)

    def put(self, keys: NDArray[np.int64], vectors: NDArray[np.floating]) -> None:
        """Add vectors [n, d], replacing those whose keys [n], all different, are there."""
        self.remove(keys)
        self.add(keys, vectors)

    def add(self, keys: NDArray[np.int64], vectors: NDArray[np.floating]) -> None:
        """Add vectors [n, d] under keys [n] none of which is there."""
        for start in range(0, len(keys), _ROWS):
            self._add(keys[start : start + _ROWS], np.asarray(vectors[start : start + _ROWS], np.float32))

    def absorb(self, other: "Codes") -> None:
        """Take over what `other`, of the same dimension and with other keys, holds."""
        self._longest = max(self._longest, other._longest)
        self._blocks += other._blocks

    def remove(self, keys: NDArray[np.int64]) -> None:
        """Drop the vectors under these keys [n]; unknown keys are ignored."""
        gone = np.sort(np.asarray(keys, np.int64))
        for block in self._blocks:
            block.remove(gone)
        self._blocks = [block for block in self._blocks if len(block)]

    def candidates(self, probe: NDArray[np.floating], limit: int, floor: float) -> NDArray[np.int64]:
        """Keys of a superset of the `limit` vectors with the greatest inner product with `probe` [d], of those
        at `floor` or above.
        """
        query = _Query(np.asarray(probe, np.float32), self._rotation, SLACK * self._longest)
        blocks = self._blocks
        looks = in_parallel(lambda block: block.look(query, floor), blocks)
        threshold = _threshold([look.lower for look in looks], limit, floor)
        unfinished = [number for number, look in enumerate(looks) if look.rest > -np.inf]
        in_parallel(lambda number: blocks[number].complete(query, looks[number], threshold), unfinished)
        threshold = _threshold([look.lower for look in looks], limit, floor)
        found = [block.keys[look.rows[look.upper >= threshold]] for block, look in zip(blocks, looks, strict=True)]
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def _add(self, keys: NDArray[np.int64], vectors: Floats) -> None:
        sketches, codes, facts = _encode(vectors, self._rotation)
        lengths = np.linalg.norm(facts[: _LENGTH + 1], axis=0)
        self._longest = max(self._longest, float(lengths.max(initial=0)))
        start = 0
        while start < len(keys):
            block = self._open()
            part = slice(start, start + BLOCK - len(block))
            block.add(keys[part], sketches[part], codes[part], facts[:, part])
            start = part.stop

    def _open(self) -> "_Block":
        """A block with room, added if there is none."""
        for block in reversed(self._blocks):
            if len(block) < BLOCK:
                return block
        self._blocks.append(_Block(len(self._rotation)))
        return self._blocks[-1]


class _Query:
    """A probe as codes are compared with it."""

    def __init__(self, probe: Floats, rotation: Floats, slack: float) -> None:
        # Not a product of matrices: BLAS would share that among threads of its own.
        self.direction = np.vecdot(rotation, probe[:-APART])
        self.length = float(np.linalg.norm(self.direction))
        self.tail = probe[-APART:]
        self.slack = slack * float(np.linalg.norm(probe))
        # faiss rounds its tables to 8 bits, and their sums must fit in 16: each component errs by half a step.
        widest = float(np.abs(self.direction).max()) * _width(len(self.direction))
        total = float(np.abs(self.direction).sum()) * _width(len(self.direction))
        step = max(widest / 255, total / (65535 - 2 * len(self.direction)))
        self.sketch_error = 0.51 * step * len(self.direction)
        self._greatest = (self._factors(0) >= 0).astype(np.intp)  # whether more of a fact allows more

    def most(self, sketched: float, facts: Floats) -> Floats:
        """The greatest scores that the product `sketched` with sketches allows, with facts [k, n]: [n]."""
        scores: Floats = np.einsum("k,kn->n", self._factors(sketched), facts[:_BOUNDING])
        scores += np.float32(self.slack)
        return scores

    def most_allowing(self, extremes: Floats) -> Floats:
        """Of least and greatest facts [2, k, m] those that allow the greatest scores: [k, m]; for products with
        sketches of `-sketch_error` and more."""
        return extremes[self._greatest, np.arange(_BOUNDING)]

    def _factors(self, sketched: float) -> Floats:
        """What the facts that bound a score from a sketch are multiplied with: [k]."""
        return np.array([*self.tail, sketched + self.sketch_error, self.length], np.float32)

    def most_each(self, sketched: Floats, facts: Floats) -> Floats:
        """The same for products [n], one for each."""
        return np.asarray(self.most(0, facts) + sketched * facts[_LENGTH], np.float32)

    def bounds(self, products: Floats, facts: Floats) -> tuple[Floats, Floats]:
        """The least and greatest scores that products [n] with codes of 8 bits allow, with facts [k, n]: [n] each."""
        scores = facts[_STEP] * products + np.einsum("k,kn->n", self.tail, facts[_TAIL])
        error = self.length * facts[_BYTE_ERROR] + self.slack
        return scores - error, scores + error


class _Look:
    """What is known of some vectors of a block: `rows` [m], and bounds of their scores; and of all others, the
    greatest inner product that one of their sketches can have, -inf if none of them matters.
    """

    def __init__(
        self, rows: NDArray[np.intp], lower: Floats, upper: Floats, rest: float, seen: NDArray[np.intp]
    ) -> None:
        self.rows, self.lower, self.upper, self.rest, self.seen = rows, lower, upper, rest, seen


class _Block:
    """Up to `BLOCK` vectors; arrays grow by doubling and are filled up to `len`."""

    def __init__(self, width: int) -> None:
        self._count = 0
        self._keys = np.empty(0, np.int64)
        self._codes = np.empty((0, width), np.int8)
        self._facts = np.empty((_FACTS, 0), np.float32)
        self._extremes = np.empty((2, _BOUNDING, 0), np.float32)  # least and greatest facts of each group of vectors
        self._sketches = _Sketches(width)
        self._least, self._greatest = np.iinfo(np.int64).max, np.iinfo(np.int64).min  # of all keys ever put

    def __len__(self) -> int:
        return self._count

    @property
    def keys(self) -> NDArray[np.int64]:
        return self._keys[: self._count]

    @property
    def nbytes(self) -> int:
        arrays = (self._keys, self._codes, self._facts, self._extremes)
        return sum(array.nbytes for array in arrays) + self._sketches.nbytes

    def add(self, keys: NDArray[np.int64], sketches: NDArray[np.uint8], codes: NDArray[np.int8], facts: Floats) -> None:
        """Append vectors for which there is room."""
        start, stop = self._count, self._count + len(keys)
        if stop > len(self._keys):
            self._grow(max(min(BLOCK, 2 * len(self._keys)), stop, min(BLOCK, _FEWEST)))
        self._keys[start:stop] = keys
        self._codes[start:stop] = codes
        self._facts[:, start:stop] = facts
        self._summarise(np.arange(start // _GROUP, _groups(stop)))
        self._sketches.append(sketches)
        self._count = stop
        self._least, self._greatest = min(self._least, int(keys.min())), max(self._greatest, int(keys.max()))

    def remove(self, gone: NDArray[np.int64]) -> None:
        """Drop the vectors under these keys [n], in order; the last ones take their places."""
        within = gone[np.searchsorted(gone, self._least) : np.searchsorted(gone, self._greatest, "right")]
        if not len(within):
            return
        removed = np.isin(self.keys, within)
        kept = self._count - int(removed.sum())
        holes = np.flatnonzero(removed[:kept])
        movers = kept + np.flatnonzero(~removed[kept:])
        self._keys[holes] = self._keys[movers]
        self._codes[holes] = self._codes[movers]
        self._facts[:, holes] = self._facts[:, movers]
        self._codes[kept : self._count] = 0
        self._facts[:, kept : self._count] = 0
        self._summarise(np.append(np.unique(holes // _GROUP), np.arange(kept // _GROUP, _groups(self._count))))
        self._sketches.move(holes, movers, kept)
        self._count = kept

    def look(self, query: _Query, floor: float) -> _Look:
        """Bounds of the scores of those that may be the best, of those at `floor` or above; of all of these, if the
        groups they can be in are few."""
        if self._count <= 2 * BEST:
            rows = np.arange(self._count)
            return _Look(rows, *self._bounds(query, None), -np.inf, rows)
        sketched, seen = self._sketches.best(query.direction, BEST)
        facts = self._facts[:_BOUNDING].take(seen, 1)  # in half the time of `[:, seen]`
        rows = seen[query.most_each(sketched, facts) >= floor]
        rest = max(float(sketched[-1]), -query.sketch_error)  # or short vectors would allow more than long ones
        look = _Look(rows, *self._bounds(query, rows), rest, seen)
        extremes = query.most_allowing(self._extremes[:, :, : _groups(self._count)])
        groups = np.flatnonzero(query.most(rest, extremes) >= floor)
        if len(groups) <= extremes.shape[1] // _FEW:
            rows = (groups[:, None] * _GROUP + np.arange(_GROUP)).ravel()
            rows = rows[: np.searchsorted(rows, self._count)]
            facts = self._facts[:_BOUNDING].take(rows, 1)
            self._add_to(look, query, rows[query.most(rest, facts) >= floor])
        return look

    def complete(self, query: _Query, look: _Look, threshold: float) -> None:
        """Add to `look` all others whose scores may be `threshold` or more."""
        facts = self._facts[:, : self._count]
        self._add_to(look, query, np.flatnonzero(query.most(look.rest, facts) >= threshold))

    def _add_to(self, look: _Look, query: _Query, rows: NDArray[np.intp]) -> None:
        """Add those in `rows` [n] that have not been seen to `look`; they are all others that matter."""
        look.rest = -np.inf
        if not len(rows):
            return
        unseen = np.ones(self._count, bool)
        unseen[look.seen] = False
        rows = rows[unseen[rows]]
        if len(rows) > self._count // 4:  # one after the other is faster than picking
            lower, upper = (bound[rows] for bound in self._bounds(query, None))
        else:
            lower, upper = self._bounds(query, rows)
        look.rows = np.concatenate([look.rows, rows])
        look.lower, look.upper = np.concatenate([look.lower, lower]), np.concatenate([look.upper, upper])

    def _bounds(self, query: _Query, rows: NDArray[np.intp] | None) -> tuple[Floats, Floats]:
        """Bounds of the scores of the vectors in `rows` [n], or of all, from their codes of 8 bits."""
        count = self._count if rows is None else len(rows)
        facts = self._facts[:, : self._count] if rows is None else self._facts.take(rows, 1)
        products = np.empty(count, np.float32)
        for start in range(0, count, _ROWS):
            part = slice(start, min(start + _ROWS, count))
            codes = self._codes[part] if rows is None else self._codes.take(rows[part], 0)
            products[part] = np.vecdot(codes.astype(np.float32), query.direction)
        return query.bounds(products, facts)

    def _summarise(self, groups: NDArray[np.intp]) -> None:
        """Bring the extremes of these groups up to date."""
        facts = self._facts[:_BOUNDING].reshape(_BOUNDING, -1, _GROUP)[:, groups]
        self._extremes[:, :, groups] = facts.min(2), facts.max(2)

    def _grow(self, room: int) -> None:
        groups = _groups(room)
        self._keys = np.concatenate([self.keys, np.zeros(room - self._count, np.int64)])
        codes, facts = np.zeros((room, self._codes.shape[1]), np.int8), np.zeros((_FACTS, groups * _GROUP), np.float32)
        extremes = np.zeros((2, _BOUNDING, groups), np.float32)
        codes[: self._count], facts[:, : self._count] = self._codes[: self._count], self._facts[:, : self._count]
        extremes[:, :, : self._extremes.shape[2]] = self._extremes
        self._codes, self._facts, self._extremes = codes, facts, extremes
        self._sketches.grow(room)


class _Sketches:
    """Sketches as faiss scans them: of 32 vectors a time, two components after another, 16 bytes for each: of
    vectors 0, 8, 1, 9, …, 7, 15 in the lower halves of the bytes, and of those 16 further on in the upper ones.
    """

    def __init__(self, width: int) -> None:
        self._index = faiss.IndexPQFastScan(width, width, 4, faiss.METRIC_INNER_PRODUCT, _GROUP)
        levels = np.tile(_levels(width), width)
        faiss.copy_array_to_vector(levels, self._index.pq.centroids)
        self._index.is_trained = True
        self._index.implem = _ONE_QUERY
        self._pairs = width // 2
        self._packed = np.empty((0, self._pairs, _GROUP), np.uint8)

    @property
    def nbytes(self) -> int:
        return self._packed.nbytes

    def best(self, query: Floats, count: int) -> tuple[Floats, NDArray[np.intp]]:
        """The greatest inner products with `query` [d], falling, and whose they are; all others' are no greater."""
        faiss.omp_set_num_threads(1)  # the threads are ours, one a block
        products, rows = self._index.search(query[None], count)
        return products[0], rows[0]

    def append(self, sketches: NDArray[np.uint8]) -> None:
        """Add sketches [n, d], 0–15, for which there is room."""
        start = self._index.ntotal
        begun = min(-start % _GROUP, len(sketches))  # they go into a group that has been begun
        if begun:
            self._write(np.arange(start, start + begun), sketches[:begun])
        rest = sketches[begun:]
        if len(rest):
            groups = _groups(len(rest))
            padded = np.zeros((groups * _GROUP, 2 * self._pairs), np.uint8)
            padded[: len(rest)] = rest
            # [group, sixteen, half, eight, component] → [group, component, eight, half], both sixteens in a byte; both
            # halves in a word, for NumPy is slow at moving bytes one by one
            parts = padded.reshape(groups, 2, 2, 8, 2 * self._pairs)
            halves = parts[:, 0] | parts[:, 1] << 4
            words = halves[:, 0] | halves[:, 1].astype(np.uint16) << 8
            first = (start + begun) // _GROUP
            packed = self._packed[first : first + groups].view("<u2")
            packed.reshape(groups, 2 * self._pairs, 8)[:] = words.transpose(0, 2, 1)
        self._set_count(start + len(sketches))

    def move(self, holes: NDArray[np.intp], movers: NDArray[np.intp], count: int) -> None:
        """Put the sketches at `movers` into `holes` and keep the first `count`."""
        self._write(holes, self._read(movers))
        last = np.arange(count, self._index.ntotal)
        self._write(last, np.zeros((len(last), 2 * self._pairs), np.uint8))
        self._set_count(count)

    def grow(self, room: int) -> None:
        """Make room for `room` sketches in all."""
        groups = _groups(room)
        old = self._packed.copy()
        self._index.codes.resize(groups * self._pairs * _GROUP)
        whole = faiss.rev_swig_ptr(self._index.codes.get(), groups * self._pairs * _GROUP)
        self._packed = whole.reshape(groups, self._pairs, _GROUP)
        self._packed[: len(old)] = old
        self._packed[len(old) :] = 0

    def _set_count(self, count: int) -> None:
        self._index.ntotal = count
        self._index.ntotal2 = _groups(count) * _GROUP  # type: ignore[attr-defined]

    def _read(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        group, byte, shift = _place(rows)
        both = self._packed.reshape(-1, self._pairs, 2, _GROUP // 2)[group, :, :, byte] >> shift[:, None, None] & 15
        return np.asarray(both.reshape(len(rows), 2 * self._pairs), np.uint8)

    def _write(self, rows: NDArray[np.intp], sketches: NDArray[np.uint8]) -> None:
        packed = self._packed.reshape(-1, self._pairs, 2, _GROUP // 2)
        group, byte, shift = _place(rows)
        for half in (0, 4):  # two vectors share a byte
            of = shift == half
            other = packed[group[of], :, :, byte[of]] & np.uint8(0xF0 >> half)
            packed[group[of], :, :, byte[of]] = other | sketches[of].reshape(-1, self._pairs, 2) << half


def _groups(count: int) -> int:
    """How many groups of 32 so many vectors need."""
    return -(-count // _GROUP)


def _place(rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint8]]:
    """The groups of 32 of vectors [n], the bytes in which they are, and where in the bytes, in bits."""
    within = rows % (_GROUP // 2)
    return rows // _GROUP, within % 8 * 2 + within // 8, (rows % _GROUP // (_GROUP // 2) * 4).astype(np.uint8)


def _encode(vectors: Floats, rotation: Floats) -> tuple[NDArray[np.uint8], NDArray[np.int8], Floats]:
    """Sketches [n, w], codes [n, w] and facts [k, n] of vectors [n, d]."""
    width = len(rotation)
    facts = np.empty((_FACTS, len(vectors)), np.float32)
    facts[_TAIL] = vectors[:, -APART:].T
    rotated = vectors[:, :-APART] @ rotation.T
    lengths = np.sqrt(np.einsum("ij,ij->i", rotated, rotated))
    rotated /= np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]
    step = _step(width)
    # Memory is used again as far as that goes: what is new must be cleared by the system first, which takes as long.
    scaled = rotated * np.float32(1 / step)
    scaled += np.float32(_LEVELS // 2)
    np.clip(scaled, 0, _LEVELS - 1, out=scaled)
    sketches = scaled.astype(np.uint8)
    scaled[:] = sketches  # `_levels` of them, which would take five times as long to look up
    scaled -= np.float32((_LEVELS - 1) / 2)
    scaled *= np.float32(step)
    facts[_SKETCH_ERROR] = _distance(rotated, scaled)
    scale = np.maximum(np.abs(rotated, out=scaled).max(1), np.finfo(np.float32).tiny)[:, None] / np.float32(127)
    np.rint(np.divide(rotated, scale, out=scaled), out=scaled)
    codes = scaled.astype(np.int8)
    scaled *= scale
    facts[_BYTE_ERROR], facts[_STEP] = _distance(rotated, scaled), scale[:, 0]
    facts[_SKETCH_ERROR:] *= lengths
    facts[_LENGTH] = lengths
    return sketches, codes, facts


def _distance(vectors: Floats, others: Floats) -> Floats:
    """From vectors [n, d] to `others` [n, d], which are lost: [n]."""
    apart = np.subtract(vectors, others, out=others)
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", apart, apart)), np.float32)


@cache
def _rotation(dimension: int) -> Floats:
    """An orthogonal map [w, d] to an even number of dimensions, the same in every process."""
    width = dimension + dimension % 2
    orthogonal = np.linalg.qr(np.random.default_rng(0).standard_normal((width, width)))[0]
    return np.ascontiguousarray(orthogonal[:, :dimension], np.float32)


@cache
def _levels(width: int) -> Floats:
    """The 16 values that a component of a sketched direction of `width` components has."""
    steps = np.arange(_LEVELS) - (_LEVELS - 1) / 2
    return np.asarray(steps * _step(width), np.float32)


def _step(width: int) -> float:
    """From one of those values to the next."""
    return _SPACING / math.sqrt(width)


def _width(width: int) -> float:
    """From the least of those values to the greatest."""
    levels = _levels(width)
    return float(levels[-1] - levels[0])


def _threshold(lower: Sequence[Floats], limit: int, floor: float) -> float:
    """The score below which nothing is among the best `limit`, or at `floor`: so many are certainly above it."""
    bounds = np.concatenate(lower) if lower else np.empty(0, np.float32)
    return floor if len(bounds) < limit else max(floor, float(np.partition(bounds, -limit)[-limit]))
