"""Turn nsfwjs's MobileNetV2, a Keras layers model, into ONNX.

    npm pack nsfwjs@4.3.0 && tar xzf nsfwjs-4.3.0.tgz
    python convert.py package/dist/models/mobilenet_v2 nsfwjs.onnx

Needs node (the package ships the model as JavaScript), numpy and onnx; no TensorFlow. The package's weights are 8-bit
integers with a scale; kernels become float16, the others float32. (Kept as integers for DequantizeLinear, OpenVINO 2026.4
gives wrong answers with two streams.) Input: float32 [N, 224, 224, 3], RGB, 0–1. Output: float32 [N, 5], the probabilities of
Drawing, Hentai, Neutral, Porn and Sexy.
"""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


def read(folder):
    """The layers of the model, and its weights by name: integers, scale, minimum."""
    script = "process.stdout.write(JSON.stringify(require(process.argv[1])))"
    path = str((folder / "model.min.js").resolve())
    model = json.loads(subprocess.run(["node", "-e", script, path], check=True, capture_output=True).stdout)
    shard = (folder / "group1-shard1of1.min.js").read_text()
    data = base64.b64decode(max(re.findall(r'"([A-Za-z0-9+/=]*)"', shard), key=len))
    weights, offset = {}, 0
    for entry in (entry for group in model["weightsManifest"] for entry in group["weights"]):
        quantised, count = entry["quantization"], int(np.prod(entry["shape"]))
        assert quantised["dtype"] == "uint8"
        integers = np.frombuffer(data, np.uint8, count, offset).reshape(entry["shape"])
        weights[entry["name"]] = integers, quantised["scale"], quantised["min"]
        offset += count
    assert offset == len(data)
    return model["modelTopology"]["model_config"]["config"], weights


def value(integers, scale, minimum):
    return integers * np.float64(scale) + minimum


class Graph:
    """The ONNX nodes so far, and the name of the output of each layer."""

    def __init__(self, weights):
        self.weights, self.nodes, self.constants, self.outputs = weights, [], [], {}

    def add(self, kind, inputs, output, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def constant(self, name, array):
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def numbers(self, name):
        """A small weight, as float32."""
        return self.constant(name, value(*self.weights[name]).astype(np.float32))

    def kernel(self, name, axes):
        """A large weight, its axes in this order, as float16 that is cast at load."""
        half = self.constant(f"{name}/half", value(*self.weights[name]).transpose(axes).astype(np.float16))
        return self.add("Cast", [half], name, to=TensorProto.FLOAT)


def convolution(graph, name, config, inputs):
    pad = "SAME_UPPER" if config["padding"] == "same" else "VALID"  # TensorFlow puts an odd pixel last
    kernel = graph.kernel(f"{name}/kernel", (3, 2, 0, 1))
    return graph.add("Conv", [*inputs, kernel], name, strides=config["strides"], auto_pad=pad)


def depthwise(graph, name, config, inputs):
    pad = "SAME_UPPER" if config["padding"] == "same" else "VALID"
    kernel = graph.kernel(f"{name}/depthwise_kernel", (2, 3, 0, 1))
    groups = graph.weights[kernel][0].shape[2]
    return graph.add("Conv", [*inputs, kernel], name, strides=config["strides"], auto_pad=pad, group=groups)


def normalisation(graph, name, config, inputs):
    parts = [graph.numbers(f"{name}/{part}") for part in ("gamma", "beta", "moving_mean", "moving_variance")]
    return graph.add("BatchNormalization", [*inputs, *parts], name, epsilon=config["epsilon"])


def clip(graph, name, config, inputs):
    ends = [graph.constant(f"{name}/{end}", np.float32(end)) for end in (0, config["max_value"])]
    return graph.add("Clip", [*inputs, *ends], name)


def padding(graph, name, config, inputs):
    (top, bottom), (left, right) = config["padding"]
    around = graph.constant(f"{name}/pads", np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
    return graph.add("Pad", [*inputs, around], name)


def pooling(graph, name, config, inputs):
    return graph.add("AveragePool", inputs, name, kernel_shape=config["pool_size"], strides=config["strides"])


def dense(graph, name, config, inputs):
    product = graph.add("MatMul", [*inputs, graph.kernel(f"{name}/kernel", (0, 1))], f"{name}/product")
    biased = graph.add("Add", [product, graph.numbers(f"{name}/bias")], f"{name}/biased")
    return graph.add({"relu": "Relu", "softmax": "Softmax"}[config["activation"]], [biased], name)


LAYERS = {
    "Conv2D": convolution,
    "DepthwiseConv2D": depthwise,
    "BatchNormalization": normalisation,
    "ReLU": clip,
    "ZeroPadding2D": padding,
    "AveragePooling2D": pooling,
    "Dense": dense,
    "Add": lambda graph, name, _, inputs: graph.add("Add", inputs, name),
    "Flatten": lambda graph, name, _, inputs: graph.add("Flatten", inputs, name),  # of 1×1 pixels: order is no matter
    "Dropout": lambda graph, name, _, inputs: inputs[0],
}


def convert(folder):
    topology, weights = read(folder)
    graph = Graph(weights)
    first, *rest = topology["layers"]
    _, height, width, channels = first["config"]["batch_input_shape"]
    graph.outputs[first["name"]] = graph.add("Transpose", ["image"], first["name"], perm=[0, 3, 1, 2])
    for layer in rest:
        inputs = [graph.outputs[source[0]] for node in layer["inbound_nodes"] for source in node]
        graph.outputs[layer["name"]] = LAYERS[layer["class_name"]](graph, layer["name"], layer["config"], inputs)
    graph.add("Identity", [graph.outputs[topology["output_layers"][0][0]]], "probabilities")
    made = helper.make_graph(
        graph.nodes,
        "nsfwjs",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", height, width, channels])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 5])],
        graph.constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


if __name__ == "__main__":
    onnx.save(convert(Path(sys.argv[1])), sys.argv[2])
