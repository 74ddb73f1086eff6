"""What glibc's malloc keeps: asked of processes of their own, as it cannot be undone."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another libc has another malloc")

BOUNDED = """
import ctypes, threading
from regard import heap

heap.bound(2)
libc, together = ctypes.CDLL(None), threading.Barrier(8)

def allocate():
    together.wait()
    libc.malloc(1000)
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
"""

TRIMMED = """
import ctypes
import psutil
from regard import heap

COUNT, SIZE = 1000, 100_000
libc, process = ctypes.CDLL(None), psutil.Process()
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
taken = [libc.malloc(SIZE) for _ in range(COUNT)]
for address in taken:
    ctypes.memset(address, 1, SIZE)
libc.malloc(SIZE)  # above them, so that malloc does not shrink its heap by itself
for address in taken:
    libc.free(address)
before = process.memory_info().rss
heap.trim()
print((before - process.memory_info().rss) / (COUNT * SIZE))
"""


def of(script: str) -> str:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout


def test_threads_share_the_heaps() -> None:
    assert of(BOUNDED).count("<heap nr=") == 2


def test_what_is_free_below_what_is_in_use_goes_back_to_the_system() -> None:
    assert float(of(TRIMMED)) > 0.9
