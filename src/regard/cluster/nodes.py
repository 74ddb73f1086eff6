"""Nodes: a cluster of one's own on this machine, or a place in one that runs.

What Regard starts has no dashboard, and never writes what is in shared memory to disk: that is pictures.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import count

import psutil
import ray

NAMESPACE = "regard"
START_PATIENCE_S = 120.0
ATTEMPTS = 3
_END_PATIENCE_S = 20.0
_MB = 1 << 20
_WORKER_PORTS = ("--min-worker-port=0", "--max-worker-port=0")  # any: several nodes may be on one machine
_RAY = "from ray.scripts.scripts import main; main()"


class ClusterError(Exception):
    """The cluster cannot be used; the text tells the operator why."""


@contextmanager
def local(nodes: int, cores: int, store_mb: int) -> Iterator[None]:
    """A cluster on this machine, of that many nodes with so many cores each; it ends with the context.

    The environment of this process is what all of its nodes get.
    """
    with ExitStack() as stack:
        # A Unix socket's path is short, and so must be the way to it.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True))
        stack.callback(_end, _insisting(partial(_head, folder, cores, store_mb)))
        address = ray.get_runtime_context().gcs_address
        for number in range(1, nodes):
            for _ in range(ATTEMPTS):
                process = stack.enter_context(_node(address, cores, store_mb))
                if _arrived(process, number + 1):
                    break
            else:
                raise ClusterError(f"of {nodes} nodes only {alive()} have started")
        yield


def _head(folder: str, cores: int, store_mb: int) -> None:
    """Start the first node, and be connected to it."""
    ray.init(
        address="local",
        num_cpus=cores,
        object_store_memory=store_mb * _MB,
        include_dashboard=False,
        namespace=NAMESPACE,
        log_to_driver=False,
        configure_logging=False,
        _temp_dir=folder,
        _system_config={"automatic_object_spilling_enabled": False},
    )


def _insisting(start: Callable[[], None]) -> set[psutil.Process]:
    """A node has half a minute to start, Ray says; a busy machine may need a second attempt. Its processes.

    Ray forgets the processes of a node that was late, which would last as long as this one.
    """
    for attempt in count(1):
        before = _children()
        try:
            start()
            break
        except BaseException as error:  # Ray has no class of its own for it
            _end(_children() - before)
            if attempt == ATTEMPTS or "timed out during startup" not in str(error):
                raise
    return _children() - before


def _children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def _end(head: set[psutil.Process]) -> None:
    """End the first node, which has these processes, and all that they started.

    A raylet has one second to end, Ray says, and is killed then. Its agents find that out by themselves, and report it
    to one that has ended, too, which takes them a minute.
    """
    processes = _with_descendants(head)
    ray.shutdown()
    _kill(processes)


def _with_descendants(processes: Iterable[psutil.Process]) -> set[psutil.Process]:
    found = set()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            found |= {process, *process.children(recursive=True)}
    return found


def _kill(processes: set[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, _END_PATIENCE_S)


def _arrived(process: "subprocess.Popen[bytes]", nodes: int) -> bool:
    """Whether there are so many nodes now, with the one of this process; not if it has ended, or another one has."""
    deadline = time.monotonic() + START_PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        if alive() >= nodes:
            return True
        time.sleep(0.1)
    return False


@contextmanager
def joined(address: str, store_mb: int) -> Iterator[None]:
    """A place in a cluster that runs: `auto` for the node on this machine, or HOST:PORT of its head.

    With HOST:PORT this machine becomes a node without cores for work, which ends with the context.
    """
    with ExitStack() as stack:
        if address != "auto":
            stack.enter_context(_node(address, 0, store_mb))
        stack.callback(ray.shutdown)
        deadline = time.monotonic() + START_PATIENCE_S
        while True:
            try:
                ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
                break
            except (ConnectionError, RuntimeError, ValueError) as error:
                if address == "auto" or time.monotonic() > deadline:
                    raise ClusterError(f"no Ray cluster answers at {address}: {error}") from error
                time.sleep(1)
        yield


@contextmanager
def _node(address: str, cores: int, store_mb: int) -> Iterator["subprocess.Popen[bytes]"]:
    """A further node on this machine, with processes of its own."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", _RAY, "start", f"--address={address}", f"--num-cpus={cores}", "--block"),
            *(f"--object-store-memory={store_mb * _MB}", "--disable-usage-stats", "--dashboard-agent-listen-port=0"),
            *_WORKER_PORTS,
        ],
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # so that Ctrl-C reaches the front alone, which ends its nodes
    )
    node = psutil.Process(process.pid)
    try:
        yield process
    finally:
        processes = _with_descendants([node])
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_PATIENCE_S)
        _kill(processes)
        process.wait()


def alive() -> int:
    """How many nodes there are."""
    return sum(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]


def cores() -> int:
    """How many cores they have for work."""
    return int(ray.cluster_resources().get("CPU", 0))  # type: ignore[no-untyped-call]


def most_cores() -> int:
    """How many cores the largest node has for work."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return int(max((node["Resources"].get("CPU", 0) for node in nodes if node["Alive"]), default=0))
