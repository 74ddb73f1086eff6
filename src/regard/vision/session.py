"""One compiled network, ready to be run from many threads.

OpenVINO runs the networks on the CPU. A network is compiled for throughput: one stream per core, each
stream one thread, so that concurrent requests fill the cores and a single request can spread its
independent parts over them. `Session.run` releases the GIL while the network works.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

import numpy as np
import openvino as ov
from numpy.typing import NDArray

Precision = Literal["f32", "bf16"]


@cache
def _core() -> ov.Core:
    return ov.Core()


class Session:
    """A network compiled by OpenVINO.

    `source` is a file (ONNX, TFLite, OpenVINO IR) or the bytes of an ONNX model. `shapes` replaces the
    shapes of inputs by name or position, -1 for a free dimension. `bf16` computes in bfloat16 where the CPU has it;
    a network uses it only where its card says what it costs. Inputs and outputs are float32.
    """

    def __init__(
        self,
        source: Path | bytes,
        *,
        threads: int,
        precision: Precision = "f32",
        shapes: Mapping[str | int, Sequence[int]] | None = None,
        cache: Path | None = None,
    ) -> None:
        core = _core()
        model = core.read_model(source) if isinstance(source, Path) else core.read_model(source, b"")
        if shapes:
            model.reshape({name: ov.PartialShape(list(shape)) for name, shape in shapes.items()})
        bf16 = precision == "bf16" and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        config: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
            # What it keeps for every size of picture it has seen costs 4 MB each, and saves 3 % of the time.
            "CPU_RUNTIME_CACHE_CAPACITY": 0,
        }
        if cache is not None:
            config["CACHE_DIR"] = str(cache)
        self._compiled = core.compile_model(model, "CPU", config)
        # As many as can run at once; whoever comes later waits for one, and memory stays bounded.
        self._idle: SimpleQueue[ov.InferRequest] = SimpleQueue()
        for _ in range(threads):
            self._idle.put(self._compiled.create_infer_request())
        # Of the model, not the compiled model, whose ports also carry names of inner nodes.
        self.inputs = tuple(port.any_name for port in model.inputs)
        self.outputs = tuple(port.any_name for port in model.outputs)

    def run(self, *inputs: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        """The outputs, in the network's order, for inputs in the network's order.

        Each output is a copy that belongs to the caller.
        """
        request = self._idle.get()
        try:
            request.infer(dict(enumerate(inputs)), share_inputs=True)
            return tuple(np.array(request.get_output_tensor(i).data) for i in range(len(self.outputs)))
        finally:
            self._idle.put(request)
