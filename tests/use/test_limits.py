"""Counts that hold under concurrency, and signatures that tell who is alike and nothing else."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import numpy as np
import pytest
import sqlalchemy as sa

from regard.store import keys, limits
from regard.store.database import Database
from regard.store.tables import probes as probes_table
from regard.use import probes
from regard.use.guard import beginning, floor_of

ACCOUNT = "123456789012"
NOW = datetime(2026, 5, 17, 13, 45, tzinfo=UTC)


@pytest.fixture
def account(database: Database) -> str:
    with database.begin() as connection:
        keys.create_account(connection, ACCOUNT)
        keys.create(connection, "AKIA1", ACCOUNT, b"sealed", "")
    return ACCOUNT


def embeddings(cosine: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of unit vectors [count, 128] with this cosine."""
    rng = np.random.default_rng(1)
    one, other = rng.standard_normal((2, count, 128))
    one /= np.linalg.norm(one, axis=1, keepdims=True)
    other -= (other * one).sum(1, keepdims=True) * one
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    return one.astype(np.float32), (cosine * one + np.sqrt(1 - cosine**2) * other).astype(np.float32)


def counted_as_one(cosine: float, count: int = 200) -> float:
    key = bytes(32)
    pairs = zip(*embeddings(cosine, count), strict=True)
    distances = [
        sum(a != b for a, b in zip(probes.signature(one, key), probes.signature(other, key), strict=True))
        for one, other in pairs
    ]
    return float(np.mean([distance <= probes.RADIUS for distance in distances]))


def test_signatures_tell_people_apart_by_the_angle_of_their_embeddings() -> None:
    assert counted_as_one(0.8) == 1
    assert counted_as_one(0.6) > 0.85
    assert 0.3 < counted_as_one(probes.SAME_PERSON_COSINE) < 0.7
    assert counted_as_one(0.2) < 0.02
    assert counted_as_one(0.0) == 0


def test_a_signature_under_another_key_is_another() -> None:
    (one, *_), _ = embeddings(0.5, 1)
    mine, other = probes.signature(one, bytes(32)), probes.signature(one, b"k" * 32)
    assert len(mine) == probes.BITS
    assert sum(a != b for a, b in zip(mine, other, strict=True)) > probes.RADIUS
    assert probes.signature(one, bytes(32)) == mine


def test_uses_are_counted_once_each_however_many_come_at_once(database: Database, account: str) -> None:
    def use(_: int) -> int:
        with database.at_hand() as connection:
            return limits.use(connection, "AKIA1", "p/r", beginning("hour", datetime.now(UTC)))

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(use, range(20))) == list(range(1, 21))


def test_no_more_searches_for_one_person_pass_than_allowed_however_many_come_at_once(
    database: Database, account: str
) -> None:
    period = beginning("day", datetime.now(UTC))
    (one, other), _ = embeddings(0.5, 2)

    def search(embedding: np.ndarray) -> bool:
        with database.begin() as connection:
            signature = probes.signature(embedding, bytes(32))
            return limits.probe(connection, account, "p/r", period, signature, probes.RADIUS, 3)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(search, [one] * 12)) == 3
    assert search(other)
    with database.begin() as connection:
        connection.execute(sa.update(probes_table).values(period=sa.func.now() - limits.KEPT * 2))
    assert search(one)
    with database.read() as connection:  # those of earlier days are gone
        assert connection.execute(sa.select(sa.func.count()).select_from(probes_table)).scalar() == 1


def test_periods_begin_with_the_clock() -> None:
    assert beginning("hour", NOW) == datetime(2026, 5, 17, 13, tzinfo=UTC)
    assert beginning("day", NOW) == datetime(2026, 5, 17, tzinfo=UTC)


@pytest.mark.parametrize(("fmr", "similarity"), [(1e-6, 99), (1e-5, 90), (1e-4, 80), (1e-2, 50)])
def test_a_floor_is_the_similarity_that_stands_for_its_rate(fmr: float, similarity: float) -> None:
    assert floor_of(fmr) == similarity
