"""Merkle trees after RFC 6962: one hash that stands for every entry of a log, and short proofs about it.

`entries` are what the log holds; here, the hashes of its records. A leaf is the hash of an entry, a node that of
two hashes below it. Complete subtrees of 256, 256², … leaves never change once they are full, so a log keeps their
hashes (`FANOUT` to a level) and any root or proof is made of a few of them.

Written here rather than taken from a library: the one that is well kept (pymerkle) is under the GPL.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256

FANOUT = 256
EMPTY = sha256().digest()

Kept = Callable[[int, int, int], Sequence[bytes]]
"""`kept(level, start, stop)`: the hashes of the complete subtrees start … stop-1 of FANOUT**level leaves each."""


class ProofError(Exception):
    """A proof does not show what it claims."""


def leaf(entry: bytes) -> bytes:
    """The leaf hash of an entry."""
    return sha256(b"\x00" + entry).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash of two neighbouring subtrees."""
    return sha256(b"\x01" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over neighbouring subtrees of one size, the last of which may stand alone at each level."""
    if not hashes:
        return EMPTY
    while len(hashes) > 1:
        paired = [sha256(b"\x01" + left + right).digest() for left, right in zip(hashes[::2], hashes[1::2])]  # noqa: B905
        if len(hashes) % 2:
            paired.append(hashes[-1])
        hashes = paired
    return hashes[0]


def root(kept: Kept, start: int, stop: int) -> bytes:
    """The root over leaves start … stop-1; `start` is a multiple of the least power of two not below their number."""
    size = stop - start
    if size == 0:
        return EMPTY
    if size & (size - 1):
        middle = start + _left(size)
        return node(root(kept, start, middle), root(kept, middle, stop))
    level, width = 0, 1
    while width * FANOUT <= size:
        level, width = level + 1, width * FANOUT
    return fold(kept(level, start // width, stop // width))


def inclusion(kept: Kept, index: int, size: int) -> list[bytes]:
    """The proof that the leaf `index` is in the tree of `size` leaves (RFC 6962, 2.1.1), nearest sibling first."""
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    return _path(kept, index, 0, size)


def _path(kept: Kept, index: int, start: int, stop: int) -> list[bytes]:
    if stop - start == 1:
        return []
    middle = start + _left(stop - start)
    if index < middle:
        return [*_path(kept, index, start, middle), root(kept, middle, stop)]
    return [*_path(kept, index, middle, stop), root(kept, start, middle)]


def consistency(kept: Kept, old: int, size: int) -> list[bytes]:
    """The proof that the tree of `size` leaves begins with the tree of `old` leaves (RFC 6962, 2.1.2)."""
    if not 0 < old <= size:
        raise ValueError(f"a tree of {old} cannot be the beginning of one of {size}")
    return _subproof(kept, old, 0, size, whole=True)


def _subproof(kept: Kept, old: int, start: int, stop: int, *, whole: bool) -> list[bytes]:
    if old == stop:
        return [] if whole else [root(kept, start, stop)]
    middle = start + _left(stop - start)
    if old <= middle:
        return [*_subproof(kept, old, start, middle, whole=whole), root(kept, middle, stop)]
    return [*_subproof(kept, old, middle, stop, whole=False), root(kept, start, middle)]


def root_of_inclusion(hashed: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that a proof of inclusion leads to from a leaf hash; ProofError if it has not the right length."""
    if not 0 <= index < size:
        raise ProofError(f"there is no leaf {index} in a tree of {size}")
    if size == 1:
        if path:
            raise ProofError("the proof is too long")
        return hashed
    if not path:
        raise ProofError("the proof is too short")
    middle = _left(size)
    if index < middle:
        return node(root_of_inclusion(hashed, index, middle, path[:-1]), path[-1])
    return node(path[-1], root_of_inclusion(hashed, index - middle, size - middle, path[:-1]))


def check_consistency(old: int, old_root: bytes, size: int, new_root: bytes, path: Sequence[bytes]) -> None:
    """ProofError unless `path` proves that the tree with `new_root` begins with the one with `old_root`."""
    if not 0 < old <= size:
        raise ProofError(f"a tree of {old} cannot be the beginning of one of {size}")
    if _roots_of_consistency(old, size, path, old_root, whole=True) != (old_root, new_root):
        raise ProofError("the proof leads to other roots: the log was rewritten")


def _roots_of_consistency(
    old: int, size: int, path: Sequence[bytes], old_root: bytes, *, whole: bool
) -> tuple[bytes, bytes]:
    if old == size:
        if len(path) != (0 if whole else 1):
            raise ProofError("the proof has not the right length")
        shared = old_root if whole else path[0]
        return shared, shared
    if not path:
        raise ProofError("the proof is too short")
    middle = _left(size)
    if old <= middle:
        before, now = _roots_of_consistency(old, middle, path[:-1], old_root, whole=whole)
        return before, node(now, path[-1])
    before, now = _roots_of_consistency(old - middle, size - middle, path[:-1], old_root, whole=False)
    return node(path[-1], before), node(path[-1], now)


def _left(size: int) -> int:
    """How many of more than one leaves are left of the root: the greatest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


class Growing:
    """The right edge of a tree that leaves are added to in order, in memory for a logarithm of them."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[tuple[int, bytes]] = []  # complete subtrees, largest first: (leaves, hash)

    def add(self, hashed: bytes, leaves: int = 1) -> list[tuple[int, bytes]]:
        """Add a complete subtree of `leaves`, a power of two that divides the size so far.

        The complete subtrees that end here now, the added one first: how many leaves, and the hash.
        """
        self.size += leaves
        ended = [(leaves, hashed)]
        while self._edge and self._edge[-1][0] == leaves:
            hashed = node(self._edge.pop()[1], hashed)
            leaves *= 2
            ended.append((leaves, hashed))
        self._edge.append((leaves, hashed))
        return ended

    def root(self, more: Sequence[bytes] = ()) -> bytes:
        """The root of what was added, and of `more` leaves, fewer than the smallest subtree on the edge."""
        hashes = [hashed for _, hashed in self._edge]
        if more:
            hashes.append(fold(more))
        if not hashes:
            return EMPTY
        above = hashes.pop()
        while hashes:
            above = node(hashes.pop(), above)
        return above
