"""Both libraries give the same answers for every network, and what runs together is answered as if it ran alone."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from regard.settings import Settings, settings
from regard.vision import labels, models
from regard.vision.batching import Batcher
from regard.vision.embedding import plain
from regard.vision.engines import Engines
from regard.vision.models import ModelError
from regard.vision.session import CPU, DeviceUnavailable, Session, require, runs_on

# How far an answer may be from OpenVINO's, as a share of the largest of that output.
TOLERANCE = {"onnxruntime": 1e-3, "cuda": 5e-3}
# Computes in integers, and what lies between two of them is rounded to either; its answers are probabilities.
ROUNDED = {"transnetv2": 0.01}
FREE = (1, 3, -1, -1)
# What each ONNX network is asked: an input, and the shape that it is given where the file does not say it.
ASKED: dict[str, tuple[tuple[int, ...], Any, tuple[int, ...] | None]] = {
    "yunet": ((1, 3, 288, 512), np.float32, FREE),
    "sface": ((2, 3, 112, 112), np.float32, (2, 3, 112, 112)),
    "face_attributes": ((1, 3, 128, 128), np.float32, (1, 3, 128, 128)),
    "movenet_multipose": ((1, 3, 224, 384), np.float32, FREE),
    "face_mask": ((1, 3, 224, 224), np.float32, (1, 3, 224, 224)),
    "ssdlite": ((1, 300, 300, 3), np.uint8, None),
    "efficientnet_lite2": ((1, 260, 260, 3), np.uint8, None),
    "open_nsfw": ((1, 224, 224, 3), np.float32, (1, 224, 224, 3)),
    "nsfwjs": ((1, 224, 224, 3), np.float32, (1, 224, 224, 3)),
    "text_detection": ((1, 3, 96, 160), np.float32, FREE),
    "text_recognition": ((1, 3, 48, 320), np.float32, (1, 3, 48, -1)),
    "transnetv2": ((1, 3, 60, 27, 48), np.float32, None),
}
# Networks whose files leave open how many pictures they look at.
TOGETHER = ("face_attributes", "face_mask", "efficientnet_lite2", "open_nsfw", "nsfwjs", "text_detection")
# What a network was trained on reaches from 0 to 255; these two want other numbers.
SMALL = {
    "face_mask": (127.5, 1.0),
    "nsfwjs": (0.0, 255.0),
    "text_detection": (110.0, 58.0),
    "text_recognition": (127.5, 127.5),
}


@pytest.fixture(params=["onnxruntime", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    """A device beside OpenVINO's; tests of one that is not here are skipped."""
    try:
        require(request.param)
    except DeviceUnavailable as error:
        pytest.skip(str(error))
    return str(request.param)


def session(name: str, cache: Path, device: str = CPU) -> Session:
    path, shape = models.path(name, cache), ASKED[name][2]
    source = plain(path)[0] if name == "sface" else path
    return Session(source, threads=2, device=device, shapes=None if shape is None else {0: shape})


def inputs(name: str, picture: NDArray[np.uint8]) -> list[NDArray[Any]]:
    """A part of a photo as the network wants it, and for the network of shots another input beside it."""
    shape, kind, _ = ASKED[name]
    channels_last = shape[-1] == 3
    height, width = shape[1:3] if channels_last else shape[-2:]
    part = picture[:height, :width].astype(np.float32)
    less, over = SMALL.get(name, (0.0, 1.0))
    pixels = ((part - less) / over).astype(kind)
    if channels_last:
        return [np.ascontiguousarray(np.broadcast_to(pixels, shape))]
    planes = pixels.transpose(2, 0, 1)
    if name == "transnetv2":
        return [
            np.ascontiguousarray(np.broadcast_to(planes[:, None], shape[1:])[None]),
            np.full((1, 60, 512), 0.04, np.float32),
        ]
    return [np.ascontiguousarray(np.broadcast_to(planes, shape))]


def assert_close(
    found: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]], share: float, absolute: float = 0.0
) -> None:
    """No value is further from what is expected than a share of the greatest one, or than `absolute`."""
    assert [array.shape for array in found] == [array.shape for array in expected]
    for one, other in zip(found, expected, strict=True):
        tolerance = max(share * float(np.abs(other).max()), absolute)
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has a priority of its own on Linux alone")
def test_networks_rank_below_the_threads_that_keep_them_busy(cache: Path) -> None:
    # In a process of its own, for OpenVINO lets a network have the threads of one that is gone.
    program = """
import os, sys
from pathlib import Path
import numpy as np
from regard.vision.session import Session
threads = Path("/proc/self/task")
ours, before = os.getpriority(os.PRIO_PROCESS, 0), set(threads.iterdir())
Session(Path(sys.argv[1]), threads=2, shapes={0: (1, 3, 64, 64)}).run(np.zeros((1, 3, 64, 64), np.float32))
new = [os.getpriority(os.PRIO_PROCESS, int(thread.name)) for thread in set(threads.iterdir()) - before]
print(len([priority for priority in new if priority > ours]) >= 2, os.getpriority(os.PRIO_PROCESS, 0) == ours)
"""
    command = [sys.executable, "-c", program, str(models.path("yunet", cache))]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["True", "True"]


def test_every_network_is_compared() -> None:
    files = {network.name: Path(network.weights or network.member[-1]).suffix for network in models.networks()}
    assert set(ASKED) == {name for name, suffix in files.items() if suffix == ".onnx"}
    assert {name for name, suffix in files.items() if suffix != ".onnx"} == {"face_mesh", "efficientdet_lite0"}


@pytest.mark.parametrize("name", ASKED)
def test_both_libraries_answer_the_same(name: str, cache: Path, device: str, pictures: dict[str, Any]) -> None:
    asked = inputs(name, pictures["obama"])
    ours, other = session(name, cache), session(name, cache, device)
    assert other.inputs == ours.inputs
    assert other.outputs == ours.outputs
    assert_close(other.run(*asked), ours.run(*asked), TOLERANCE[device], ROUNDED.get(name, 0.0))


@pytest.mark.parametrize("name", TOGETHER)
def test_pictures_that_run_together_are_answered_as_if_alone(
    name: str, cache: Path, device: str, pictures: dict[str, Any]
) -> None:
    network = session(name, cache, device)
    asked = [inputs(name, pictures[photo]) for photo in ("obama", "biden", "astronaut")]
    alone = [network.run(*one) for one in asked]
    together = network.run(*(np.concatenate(arrays) for arrays in zip(*asked, strict=True)))
    for row, expected in enumerate(alone):
        assert_close([output[row : row + 1] for output in together], expected, TOLERANCE[device])
    with ThreadPoolExecutor(8) as threads:
        for expected, found in zip(alone * 8, threads.map(lambda one: network.run(*one), asked * 8), strict=True):
            assert_close(found, expected, TOLERANCE[device])


def test_a_picture_is_seen_the_same_by_both(cache: Path, device: str, obama: NDArray[np.uint8], pictures: Any) -> None:
    chosen = settings().model_copy(update={"cache": cache})
    ours, other = Engines(chosen), Engines(chosen.model_copy(update={"device": device}))
    (face,), (same,) = (engines.faces.detect(obama) for engines in (ours, other))
    assert face.box.overlap(same.box) > 0.99
    embeddings = [engines.faces.embed(obama, [face]) for engines in (ours, other)]
    assert float((embeddings[0] @ embeddings[1].T).item()) > 0.999
    cup = pictures["coffee"]
    seen = [{label.concept.name: label.confidence for label in labels.find(one, cup)} for one in (ours, other)]
    assert seen[1] == pytest.approx(seen[0], abs=1.0)
    read = [[line.text for line in one.text.read(pictures["page"])] for one in (ours, other)]
    assert read[0] == read[1]


def test_what_is_no_onnx_stays_with_openvino(cache: Path) -> None:
    assert runs_on(cache / "networks" / "face_mesh.tflite", "cuda:1") == CPU
    assert runs_on(cache / "networks" / "yunet.onnx", "cuda:1") == "cuda:1"
    assert runs_on(b"", "onnxruntime") == "onnxruntime"


def test_a_device_that_is_not_here_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ModelError, match="REGARD_DEVICE=cuda:77"):
        Engines(Settings(device="cuda:77"))  # no machine has as many
    with pytest.raises(ValueError, match="device"):
        Settings(device="gpu")


def test_garbage_is_no_network(device: str, tmp_path: Path) -> None:
    (tmp_path / "own.onnx").write_bytes(b"no network")
    with pytest.raises(RuntimeError):
        Session(tmp_path / "own.onnx", threads=1, device=device)


class Counted:
    """A network that doubles, and stays at work until it may go on."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.go_on = threading.Event()
        self.at_work = threading.Event()

    def __call__(self, rows: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        self.batches.append(len(rows))
        self.at_work.set()
        assert self.go_on.wait(10)
        if (rows < 0).any():
            raise ValueError("negative")
        return (2 * rows,)


def while_one_runs(network: Counted, batcher: Batcher, asked: Sequence[NDArray[Any]]) -> list[Callable[[], Any]]:
    """Results of requests, all but the first of which came while that one was at work."""
    pool = ThreadPoolExecutor(len(asked))
    first = pool.submit(batcher.run, asked[0])
    assert network.at_work.wait(10)
    others = [pool.submit(batcher.run, one) for one in asked[1:]]
    while len(batcher._waiting) < len(others):
        threading.Event().wait(0.001)
    network.go_on.set()
    pool.shutdown()
    return [future.result for future in (first, *others)]


def test_what_waits_runs_together_and_each_gets_its_own() -> None:
    network = Counted()
    asked = [np.full((1, 4), number, np.float32) for number in range(9)]
    results = while_one_runs(network, Batcher(network, most=6), asked)
    assert [float(result()[0][0, 0]) for result in results] == [2.0 * number for number in range(9)]
    assert network.batches == [1, 6, 2]


def test_only_what_has_one_shape_runs_together() -> None:
    network = Counted()
    asked = [np.ones((rows, width), np.float32) for rows, width in ((1, 4), (2, 4), (1, 5), (3, 4), (1, 5))]
    results = while_one_runs(network, Batcher(network, most=16), asked)
    assert [result()[0].shape for result in results] == [(1, 4), (2, 4), (1, 5), (3, 4), (1, 5)]
    assert sorted(network.batches) == [1, 2, 5]


def test_a_failure_is_told_to_all_that_ran_together_and_to_nobody_else() -> None:
    network = Counted()
    asked = [np.full((1, 4), value, np.float32) for value in (1, 2, -3)]
    first, *others = while_one_runs(network, batcher := Batcher(network, most=16), asked)
    assert first()[0].max() == 2
    for other in others:
        with pytest.raises(ValueError, match="negative"):
            other()
    assert batcher.run(asked[1])[0].max() == 4


def test_an_input_that_the_file_fixes_is_not_made_free(tmp_path: Path, device: str) -> None:
    """A network of one picture is asked one at a time."""
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    ports = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 2]) for name in "xy"]
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "one", ports[:1], ports[1:]),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "one.onnx")
    network = Session(tmp_path / "one.onnx", threads=2, device=device)
    with ThreadPoolExecutor(8) as threads:
        answers = threads.map(network.run, [np.array([[number, -1]], np.float32) for number in range(40)])
        assert [float(answer[0][0, 0]) for answer in answers] == list(range(40))


def test_loading_networks_tells_nobody(cache: Path, tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
sys.addaudithook(lambda event, args: event in ("socket.connect", "socket.getaddrinfo") and print(event, args))
from regard.vision.session import Session
Session(Path(sys.argv[1]), threads=1)
print([name for name in sys.modules if name.startswith("openvino_telemetry.")])
"""
    network = str(models.path("yunet", cache))
    run = subprocess.run(
        [sys.executable, "-c", program, network],
        env={name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == ["[]"], run.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_first_questions_may_come_at_once(cache: Path) -> None:
    program = """
import sys
from pathlib import Path
from threading import Barrier, Thread
import numpy as np
from regard.vision.session import Session
session = Session(Path(sys.argv[1]), threads=2, shapes={0: (1, 3, 64, 64)})
together = Barrier(4)
def ask():
    together.wait()
    session.run(np.zeros((1, 3, 64, 64), np.float32))
sys.setswitchinterval(1e-6)
threads = [Thread(target=ask) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
    command = [sys.executable, "-c", program, str(models.path("yunet", cache))]
    processes = [subprocess.Popen(command) for _ in range(5)]
    try:
        assert [process.wait(60) for process in processes] == [0] * 5
    finally:
        for process in processes:
            process.kill()
            process.wait()
