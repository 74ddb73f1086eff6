"""What a picture has several of is spread over the cores, and nobody waits for help."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from regard.vision.spreading import Spreader

PATIENCE_S = 30


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 20])
def test_what_is_made_is_in_the_order_of_the_items(threads: int, count: int) -> None:
    assert Spreader(threads, "test").each(str, range(count)) == [str(number) for number in range(count)]


def test_a_helper_works_beside_who_asks() -> None:
    both = threading.Barrier(2, timeout=PATIENCE_S)
    assert Spreader(2, "test").each(lambda item: both.wait() in (0, 1) and item, "ab") == ["a", "b"]


def test_where_all_helpers_are_busy_everybody_does_their_own() -> None:
    spreader, begun, end = Spreader(2, "test"), threading.Barrier(3, timeout=PATIENCE_S), threading.Event()

    def wait(_: str) -> None:
        begun.wait()
        assert end.wait(PATIENCE_S)

    with ThreadPoolExecutor(1) as another:
        waiting = another.submit(spreader.each, wait, "ab")
        begun.wait()
        assert spreader.each(lambda _: threading.current_thread(), "abc") == [threading.current_thread()] * 3
        end.set()
        waiting.result()


def test_work_that_spreads_itself_does_not_wait_for_ever() -> None:
    spreader = Spreader(2, "test")
    assert spreader.each(lambda item: spreader.each(lambda other: item + other, "xyz"), "ab") == [
        ["ax", "ay", "az"],
        ["bx", "by", "bz"],
    ]


def test_what_is_offered_is_done_by_a_helper_or_else_by_who_offers_it() -> None:
    spreader, begun, end = Spreader(2, "test"), threading.Event(), threading.Event()

    def help_until_the_end() -> threading.Thread:
        begun.set()
        assert end.wait(PATIENCE_S)
        return threading.current_thread()

    helped, left = spreader.offer(help_until_the_end), spreader.offer(threading.current_thread)
    assert begun.wait(PATIENCE_S)
    assert left.made() is threading.current_thread()
    end.set()
    assert helped.made() is not threading.current_thread()
    assert Spreader(1, "alone").offer(threading.current_thread).made() is threading.current_thread()


def test_the_error_of_what_is_offered_is_raised_to_who_comes_for_it() -> None:
    for threads in (1, 2):
        failing = Spreader(threads, "test").offer(int, "x")
        with pytest.raises(ValueError, match="x"):
            failing.made()


@pytest.mark.parametrize("bad", range(6))
def test_the_error_of_any_item_is_raised(bad: int) -> None:
    def work(item: int) -> None:
        if item == bad:
            raise ValueError(item)

    with pytest.raises(ValueError, match=str(bad)):
        Spreader(2, "test").each(work, range(6))


def test_after_an_error_nothing_more_is_begun() -> None:
    spreader, helping, end = Spreader(2, "test"), threading.Event(), threading.Event()
    done = []

    def work(item: int) -> None:
        if item == 0:
            helping.set()
            assert end.wait(PATIENCE_S)
        elif item == 5:
            assert helping.wait(PATIENCE_S)
            raise ValueError(item)
        done.append(item)

    with pytest.raises(ValueError, match="5"):
        spreader.each(work, range(6))
    end.set()
    both = threading.Barrier(2, timeout=PATIENCE_S)
    spreader.each(lambda _: both.wait(), "ab")  # for which the helper has to be done with all of before
    assert done == [0]
