"""A node that is late is begun anew; of a first attempt, and of a node that has ended, nothing is left."""

import subprocess
import time

import psutil
import pytest

pytest.importorskip("ray")

from regard.cluster import nodes


class Late:
    """A start of a node that takes too long so many times, with a process each time."""

    def __init__(self, times: int, reason: str = "The current node timed out during startup.") -> None:
        self._times = times
        self._reason = reason
        self.started: list[subprocess.Popen[bytes]] = []

    def __call__(self) -> None:
        self.started.append(subprocess.Popen(["sleep", "600"]))
        if len(self.started) <= self._times:
            raise Exception(self._reason)

    def end(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()


def test_the_processes_of_a_late_node_end_before_the_next_attempt() -> None:
    start = Late(nodes.ATTEMPTS - 1)
    try:
        nodes._insisting(start)
        *late, good = start.started
        assert len(late) == nodes.ATTEMPTS - 1
        for process in late:
            process.wait(5)
        assert good.poll() is None
    finally:
        start.end()


@pytest.mark.parametrize(("times", "reason"), [(9, "timed out during startup"), (1, "no space left")])
def test_a_node_that_never_starts_is_told_of(times: int, reason: str) -> None:
    start = Late(times, reason)
    try:
        with pytest.raises(Exception, match=reason):
            nodes._insisting(start)
        assert len(start.started) == min(times, nodes.ATTEMPTS)
    finally:
        start.end()


def test_what_ray_leaves_of_a_node_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an agent is left by a raylet that Ray kills because it was not done in a second."""
    raylet = subprocess.Popen(["sh", "-c", "setsid sleep 600 & wait"])
    node = psutil.Process(raylet.pid)
    while not (agents := node.children()):
        time.sleep(0.01)
    monkeypatch.setattr("ray.shutdown", raylet.kill)
    nodes._end({node})
    raylet.wait(5)
    assert not any(agent.is_running() for agent in agents)
