"""Merkle trees: as RFC 6962 defines them, whatever is kept of them."""

from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.use.audit import merkle
from regard.use.audit.merkle import FANOUT, ProofError

# The reference entries of Certificate Transparency's tests, and the roots over the first 1, 2, … of them.
ENTRIES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
ENTRIES.append(bytes.fromhex("606162636465666768696a6b6c6d6e6f"))
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}
LEAVES = [merkle.leaf(str(number).encode()) for number in range(70_000)]

sizes = st.one_of(st.integers(1, 600), st.integers(65_000, len(LEAVES)))


def plain_root(leaves: Sequence[bytes]) -> bytes:
    """The definition, word for word."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    left = 1
    while left * 2 < len(leaves):
        left *= 2
    return sha256(b"\x01" + plain_root(leaves[:left]) + plain_root(leaves[left:])).digest()


def kept_of(leaves: Sequence[bytes]) -> merkle.Kept:
    """What a log keeps: the leaves, and the hashes of full subtrees of 256 and 65,536 of them."""
    levels: list[Sequence[bytes]] = [leaves]
    while len(levels[-1]) >= FANOUT:
        below = levels[-1]
        levels.append([plain_root(below[at : at + FANOUT]) for at in range(0, len(below) - FANOUT + 1, FANOUT)])

    def kept(level: int, start: int, stop: int) -> Sequence[bytes]:
        found = levels[level][start:stop]
        assert len(found) == stop - start, "a subtree that is not full was asked for"
        assert len(found) <= FANOUT
        return found

    return kept


KEPT = kept_of(LEAVES)


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_reference(size: int) -> None:
    leaves = [merkle.leaf(entry) for entry in ENTRIES[:size]]
    assert merkle.root(kept_of(leaves), 0, size).hex() == ROOTS[size - 1]
    assert merkle.fold(leaves).hex() == ROOTS[size - 1]


@pytest.mark.parametrize(("old", "size"), CONSISTENCY)
def test_proofs_of_consistency_are_those_of_the_reference(old: int, size: int) -> None:
    kept = kept_of([merkle.leaf(entry) for entry in ENTRIES])
    assert [hashed.hex() for hashed in merkle.consistency(kept, old, size)] == CONSISTENCY[old, size]


def test_the_empty_tree_has_a_root() -> None:
    assert merkle.root(kept_of([]), 0, 0) == merkle.fold([]) == merkle.Growing().root() == sha256().digest()


@settings(max_examples=30)
@given(sizes)
def test_a_root_is_made_of_what_is_kept(size: int) -> None:
    expected = plain_root(LEAVES[:size])
    assert merkle.root(KEPT, 0, size) == expected
    growing = merkle.Growing()
    whole = size // FANOUT * FANOUT
    for at in range(0, whole, FANOUT):
        growing.add(plain_root(LEAVES[at : at + FANOUT]), FANOUT)
    assert growing.root(LEAVES[whole:size]) == expected


@settings(max_examples=50)
@given(sizes, st.data())
def test_every_record_can_be_proved_and_no_other_put_in_its_place(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    root = merkle.root(KEPT, 0, size)
    path = merkle.inclusion(KEPT, index, size)
    assert len(path) <= size.bit_length()
    assert merkle.root_of_inclusion(LEAVES[index], index, size, path) == root
    assert merkle.root_of_inclusion(merkle.leaf(b"another"), index, size, path) != root
    other = data.draw(st.integers(0, size - 1).filter(lambda number: number != index) if size > 1 else st.just(0))
    if other != index:
        with suppress(ProofError):
            assert merkle.root_of_inclusion(LEAVES[index], other, size, path) != root
    for wrong in ([*path, root], path[:-1]):
        if len(wrong) != len(path):
            with pytest.raises(ProofError):
                merkle.root_of_inclusion(LEAVES[index], index, size, wrong)


@settings(max_examples=50)
@given(sizes, st.data())
def test_growth_is_proved_and_a_rewritten_beginning_is_not(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size))
    before, now = merkle.root(KEPT, 0, old), merkle.root(KEPT, 0, size)
    path = merkle.consistency(KEPT, old, size)
    merkle.check_consistency(old, before, size, now, path)
    with pytest.raises(ProofError):
        merkle.check_consistency(old, merkle.leaf(b"another"), size, now, path)
    with pytest.raises(ProofError):
        merkle.check_consistency(old, before, size, now, [*path, now])
