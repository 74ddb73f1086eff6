"""Some thousands of hostile inputs of each kind, the same ones each time, and all that ever failed."""

from collections.abc import Iterator

import pytest
from tests.fuzz import engine
from tests.fuzz.targets import TARGETS

SEED = 0


@pytest.fixture(scope="module", params=TARGETS)
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, engine.Target]]:
    with TARGETS[request.param].opened(tmp_path_factory.mktemp("fuzz")) as opened:
        yield request.param, opened


def test_what_once_failed_does_not(target: tuple[str, engine.Target]) -> None:
    name, opened = target
    for file in engine.kept(name):
        opened.check(file.read_bytes())


def test_no_case_is_a_fault(target: tuple[str, engine.Target]) -> None:
    name, opened = target
    cases = (engine.made(opened, name, SEED, number) for number in range(TARGETS[name].cases))
    tally = engine.run(opened, cases, lambda _: True)
    assert not tally.faults, "\n".join(f"{fault}\n  {engine.shown(case)}" for case, fault in tally.faults.items())
    assert len(tally.outcomes) > 1  # else nothing was reached
