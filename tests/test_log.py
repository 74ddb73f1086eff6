"""What libraries log looks as our own lines do, and does not drown them."""

import logging
import time
from collections.abc import Iterator

import pytest

from regard.log import spare

NAME = "a.library"


@pytest.fixture
def library() -> Iterator[logging.Logger]:
    """A logger as a library sets up its own."""
    logger = logging.getLogger(NAME)
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.addHandler(logging.StreamHandler())
    yield logger
    logger.filters.clear()


def test_each_place_that_repeats_itself_is_heard_once_and_then_says_how_often_it_was(
    library: logging.Logger, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    spare(NAME)
    for now in (0.0, 1.0, 9.9, 10.1, 30.0):
        library.warning("lost %s", f"replica {now}")
    library.error("another place")
    assert caplog.messages == [
        "lost replica 0.0",
        "lost replica 10.1 (2 more before it)",
        "lost replica 30.0",
        "another place",
    ]


def test_a_librarys_own_handlers_and_level_give_way(library: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    spare(NAME)
    assert not library.handlers
    caplog.set_level(logging.WARNING)
    library.info("chatter")
    library.warning("news")
    assert caplog.messages == ["news"]
