"""One compiled network, ready to be run from many threads, whichever library runs it.

OpenVINO runs the networks on the CPU. A network is compiled for throughput: one stream per core, each
stream one thread, so that concurrent requests fill the cores and a single request can spread its
independent parts over them. onnxruntime runs them on a GPU of Nvidia, and for comparison on the CPU; what it cannot
read stays with OpenVINO, see `runs_on`. `Session.run` releases the GIL while the network works.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from threading import BoundedSemaphore
from typing import Any, Literal, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from regard import metrics
from regard.vision.batching import Batcher

# Whoever imports OpenVINO tells Google Analytics, with a number of its own kept in the home directory. Nobody was
# asked; without this package it has nothing to tell it with, and says nothing.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino as ov  # noqa: E402

# OpenVINO makes its table of types when it is first asked for one. Two threads that ask first at the same time wait for
# each other for ever, and hold the interpreter's lock.
ov.Type.f32.to_dtype()

Precision = Literal["f32", "bf16"]
Arrays = tuple[NDArray[np.float32], ...]
Shapes = Mapping[str | int, Sequence[int]]

CPU = "cpu"
"""The device on which OpenVINO runs all networks."""
# By how much networks rank below the threads that keep them busy: with 1 those still wait for a core while all others
# wait for them, with 10 networks are interrupted so often that they take longer.
_NICE = 3
# Pictures that a GPU looks at together: more fill a large GPU no better and take memory for each.
MOST_TOGETHER = 16


class DeviceUnavailable(RuntimeError):
    """onnxruntime or the GPU that was asked for is not here; the text says what to do."""


class _Backend(Protocol):
    """A compiled network of one library. `inputs` and `outputs` are their names in the network's order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, *inputs: NDArray[Any]) -> Arrays: ...


class Session:
    """A compiled network.

    `source` is a file (ONNX, TFLite, OpenVINO IR) or the bytes of an ONNX model. `device` is `CPU`, `onnxruntime`,
    `cuda` or `cuda:N`. `shapes` replaces the shapes of inputs by name or position, -1 for a free dimension. `bf16`
    computes in bfloat16 where the CPU has it; a network uses it only where its card says what it costs. Inputs and
    outputs are float32. Raises `DeviceUnavailable`, and `RuntimeError` for what is no network.
    """

    def __init__(
        self,
        source: Path | bytes,
        *,
        threads: int,
        device: str = CPU,
        precision: Precision = "f32",
        shapes: Shapes | None = None,
        cache: Path | None = None,
    ) -> None:
        self._backend: _Backend
        if runs_on(source, device) == CPU:
            self._backend = _OpenVino(source, threads, precision, shapes or {}, cache)
        else:
            self._backend = _OnnxRuntime(source, threads, device, shapes or {})
        self.inputs, self.outputs = self._backend.inputs, self._backend.outputs

    def run(self, *inputs: NDArray[Any]) -> Arrays:
        """The outputs, in the network's order, for inputs in the network's order.

        Each output belongs to the caller.
        """
        return self._backend.run(*inputs)


def runs_on(source: Path | bytes, device: str) -> str:
    """Where a network runs that is asked to run on `device`: there, or with OpenVINO on the CPU if it is no ONNX."""
    return device if isinstance(source, bytes) or source.suffix == ".onnx" else CPU


def require(device: str) -> None:
    """Raises `DeviceUnavailable` if networks cannot run on `device`."""
    if device != CPU:
        _providers(device)


class _OpenVino:
    def __init__(
        self, source: Path | bytes, threads: int, precision: Precision, shapes: Shapes, cache: Path | None
    ) -> None:
        core = _core()
        model = core.read_model(source) if isinstance(source, Path) else core.read_model(source, b"")
        if shapes:
            model.reshape({name: ov.PartialShape(list(shape)) for name, shape in shapes.items()})
        bf16 = precision == "bf16" and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        config: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,
            # Every process would pin its first stream to the first core, however idle the others are.
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
            # What it keeps for every size of picture it has seen costs 4 MB each, and saves 3 % of the time.
            "CPU_RUNTIME_CACHE_CAPACITY": 0,
        }
        if cache is not None:
            config["CACHE_DIR"] = str(cache)
        # The threads of its streams have the priority of the one that compiles it.
        with ThreadPoolExecutor(1, "compile", _step_back) as thread:
            self._compiled = thread.submit(core.compile_model, model, "CPU", config).result()
        name = source.stem if isinstance(source, Path) else model.friendly_name
        self._seconds = metrics.NETWORK_SECONDS.labels(name)
        # One more than can run at once, so that a stream that is done has the next one to begin with. Whoever comes
        # later waits for one, and memory stays bounded.
        self._idle: SimpleQueue[ov.InferRequest] = SimpleQueue()
        for _ in range(threads + 1):
            self._idle.put(self._compiled.create_infer_request())
        # Of the model, not the compiled model, whose ports also carry names of inner nodes.
        self.inputs = tuple(port.any_name for port in model.inputs)
        self.outputs = tuple(port.any_name for port in model.outputs)

    def run(self, *inputs: NDArray[Any]) -> Arrays:
        request = self._idle.get()
        try:
            # Shared outputs are views of the request's memory, so that only the copy for the caller is made.
            with self._seconds.time():
                answers = request.infer(dict(enumerate(inputs)), share_inputs=True, share_outputs=True)
            return tuple(np.array(answer) for answer in answers.to_tuple())
        finally:
            self._idle.put(request)


def _step_back() -> None:
    """Let whoever has a request to pass on go first, who needs a core for a moment while networks have all of them."""
    if sys.platform == "linux":  # elsewhere it would be the whole process that steps back
        os.nice(_NICE)


@cache
def _core() -> ov.Core:
    return ov.Core()


class _OnnxRuntime:
    """Runs ONNX models. Where the model leaves the number of pictures open, what several threads ask for at the same
    time runs together."""

    def __init__(self, source: Path | bytes, threads: int, device: str, shapes: Shapes) -> None:
        onnxruntime, providers = _onnxruntime(device), _providers(device)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # as OpenVINO's streams
        options.log_severity_level = 3
        try:
            model = onnx.load(source) if isinstance(source, Path) else onnx.load_from_string(source)
            together = _reshape(model, shapes)
            self._session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)
        except Exception as error:  # onnx and onnxruntime have no base for theirs
            raise RuntimeError(str(error)) from error
        if self._session.get_providers()[0] != providers[0][0]:
            raise DeviceUnavailable(
                f"REGARD_DEVICE={device}: onnxruntime finds no such GPU, or not the CUDA and cuDNN that it needs"
            )
        self.inputs = tuple(port.name for port in self._session.get_inputs())
        self.outputs = tuple(port.name for port in self._session.get_outputs())
        self._types = [_TYPES[port.type] for port in self._session.get_inputs()]
        self._seconds = metrics.NETWORK_SECONDS.labels(source.stem if isinstance(source, Path) else model.graph.name)
        self._at_once = BoundedSemaphore(threads)
        self._batcher = Batcher(self._run, MOST_TOGETHER) if together else None

    def run(self, *inputs: NDArray[Any]) -> Arrays:
        arrays = [np.ascontiguousarray(array, kind) for array, kind in zip(inputs, self._types, strict=True)]
        if self._batcher is not None:
            return self._batcher.run(*arrays)
        with self._at_once:
            return self._run(*arrays)

    def _run(self, *inputs: NDArray[Any]) -> Arrays:
        with self._seconds.time():
            return tuple(self._session.run(None, dict(zip(self.inputs, inputs, strict=True))))


_TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}


def _reshape(model: Any, shapes: Shapes) -> bool:
    """Give a model's inputs other shapes; whether each still takes any number of pictures.

    A first dimension that the file leaves open stays so: onnxruntime gains nothing by knowing it.
    """
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    together = True
    for position, value in enumerate(inputs):
        dimensions = value.type.tensor_type.shape.dim
        free = not dimensions[0].HasField("dim_value")
        for axis, size in enumerate(shapes.get(position, shapes.get(value.name, ()))):
            if size < 0:
                dimensions[axis].dim_param = f"{value.name}_{axis}"
            elif axis or not free:
                dimensions[axis].dim_value = size
        together &= free
    if shapes:  # what the file says of the sizes in between and of the outputs may no longer hold
        del graph.value_info[:]
        for value in graph.output:
            value.type.tensor_type.ClearField("shape")
    return together


def _onnxruntime(device: str) -> Any:
    """The library, which only some have installed; raises `DeviceUnavailable`."""
    try:
        return import_module("onnxruntime")
    except ImportError as error:
        extra = "cuda" if device.startswith("cuda") else "onnxruntime"
        raise DeviceUnavailable(f"REGARD_DEVICE={device} needs onnxruntime: pip install 'regard[{extra}]'") from error


def _providers(device: str) -> list[tuple[str, dict[str, Any]]]:
    """What onnxruntime shall run a network by; raises `DeviceUnavailable`."""
    onnxruntime = _onnxruntime(device)
    if device == "onnxruntime":
        return [("CPUExecutionProvider", {})]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise DeviceUnavailable(
            f"REGARD_DEVICE={device}: the onnxruntime that is installed is the one for CPUs; "
            "pip uninstall onnxruntime, then pip install 'regard[cuda]'"
        )
    onnxruntime.preload_dlls()  # CUDA and cuDNN that came as wheels
    number = int(device.partition(":")[2] or 0)
    options = {
        "device_id": number,
        # Searching for the best algorithm anew for every size of picture would take longer than it saves.
        "cudnn_conv_algo_search": "HEURISTIC",
        # TensorFloat-32 keeps 10 bits of 23, and calibrations were made with all of them.
        "use_tf32": 0,
    }
    return [("CUDAExecutionProvider", options), ("CPUExecutionProvider", {})]
