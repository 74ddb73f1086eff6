"""Turns a face into a vector whose direction says who it is.

The built-in network is SFace (Zhong et al. 2021, "SFace: Sigmoid-Constrained Hypersphere Loss for Robust
Face Recognition"); an owner may register another ONNX network by a description file. Every network is tried
once when it is loaded, so that a wrong description is refused at start and not at the first request.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from regard.vision import models
from regard.vision.geometry import ARCFACE_POINTS, align
from regard.vision.models import EmbedderDescription, ModelError
from regard.vision.session import CPU, Precision, Session

ARCFACE_SIZE = 112


def sface(cache: Path) -> EmbedderDescription:
    """The description of the built-in embedder. Raises `models.ModelMissing` if it was not fetched."""
    return EmbedderDescription(
        task="embedder",
        network=models.path("sface", cache),
        colour="rgb",
        flip=True,
        calibration=models.WEIGHTS / "sface" / "calibration.json",
        cohort=models.WEIGHTS / "sface" / "cohort.npz",
    )


class Embedder:
    """A face embedder, ready to run.

    `name` identifies the network: embeddings may be compared only if their embedders have the same name.
    `dimension` is the length of an embedding.
    """

    def __init__(
        self,
        description: EmbedderDescription,
        *,
        name: str,
        threads: int,
        device: str = CPU,
        precision: Precision = "f32",
        cache: Path | None = None,
    ) -> None:
        """Raises `models.ModelError` if the network is not what the description says."""
        self.name = name
        self._description = description
        self._views = 2 if description.flip else 1
        size = description.size
        self._template = (
            ARCFACE_POINTS * (size / ARCFACE_SIZE)
            if description.template is None
            else np.array(description.template, np.float64)
        )
        self._mean = np.array(description.mean, np.float32).reshape(3, 1, 1)
        try:
            model, inputs = plain(description.network)
            if len(inputs) != 1:
                raise ModelError(f"it has {len(inputs)} inputs, expected 1")
            self._session = Session(
                model,
                threads=threads,
                device=device,
                precision=precision,
                shapes={inputs[0]: (self._views, 3, size, size)},
                cache=cache,
            )
            if len(self._session.outputs) != 1:
                raise ModelError(f"it has {len(self._session.outputs)} outputs, expected 1")
            (output,) = self._session.run(np.zeros((self._views, 3, size, size), np.float32))
            if output.ndim != 2 or len(output) != self._views or not np.isfinite(output).all():
                raise ModelError(f"it answers {output.shape} for {self._views} faces, expected finite [n, d]")
        except Exception as error:  # whatever OpenVINO or ONNX find wrong, the owner must see which file
            raise ModelError(f"{description.network} is no face embedder: {error}") from error
        self.dimension: int = output.shape[1]

    def embed(self, image: NDArray[np.uint8], keypoints: NDArray[Any]) -> NDArray[np.float32]:
        """The embedding float32 [dimension] of length 1 of a face.

        `image` is RGB [h, w, 3]; `keypoints` [5, 2] are the detector's points in pixels. With `flip` in
        the description an embedding is the mean of the face's and its mirror image's.
        """
        crop = align(image, keypoints, self._template, self._description.size)
        pixels = crop if self._description.colour == "rgb" else crop[:, :, ::-1]
        view = (pixels.transpose(2, 0, 1).astype(np.float32) - self._mean) * np.float32(self._description.scale)
        views = np.stack([view, view[:, :, ::-1]][: self._views])
        (output,) = self._session.run(views)
        return normalised(normalised(output).sum(0))


def normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """`vectors` [..., d] scaled to length 1; a zero vector stays as it is."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, np.finfo(np.float32).tiny), np.float32)


def own_name(network: Path) -> str:
    """The name of an owner's network: its file name and the start of its SHA-256."""
    with network.open("rb") as file:
        return f"{network.stem}-{hashlib.file_digest(file, 'sha256').hexdigest()[:12]}"


def plain(network: Path) -> tuple[bytes, list[str]]:
    """An ONNX file with quantised weights as float32, and the names of its inputs.

    OpenVINO does not read weights that are quantised in blocks (`DequantizeLinear` of opset 21 on constants,
    as in SFace's int8 file), so these, and reshapes of them, are computed here.
    """
    model = onnx.load(network)
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    computed: dict[str, NDArray[Any]] = {}
    kept = []
    for node in graph.node:
        constant = all(name in constants or name in computed for name in node.input)
        if node.op_type not in ("DequantizeLinear", "Reshape") or not constant:
            kept.append(node)
            continue
        values = [computed[name] if name in computed else numpy_helper.to_array(constants[name]) for name in node.input]
        attributes = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type == "Reshape":
            computed[node.output[0]] = values[0].reshape(values[1])
        else:
            computed[node.output[0]] = _dequantised(*values, **attributes)
    used = {name for node in kept for name in node.input}
    weights = [tensor for name, tensor in constants.items() if name in used]
    weights += [numpy_helper.from_array(value, name) for name, value in computed.items() if name in used]
    inputs = [value for value in graph.input if value.name in used and value.name not in constants]
    for field, content in ((graph.node, kept), (graph.initializer, weights), (graph.input, inputs)):
        del field[:]
        field.extend(content)
    return model.SerializeToString(), [value.name for value in inputs]


def _dequantised(
    quantised: NDArray[Any],
    scale: NDArray[np.float32],
    zero_point: NDArray[Any] | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
) -> NDArray[np.float32]:
    """ONNX's DequantizeLinear-21 by tensor, by axis or by block."""
    zero = np.zeros_like(scale) if zero_point is None else zero_point.astype(np.float32)
    if block_size:
        length = quantised.shape[axis]
        scale, zero = (np.repeat(part, block_size, axis).take(np.arange(length), axis) for part in (scale, zero))
    elif scale.ndim:
        shape = [-1 if i == axis % quantised.ndim else 1 for i in range(quantised.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return np.asarray((quantised.astype(np.float32) - zero) * scale, np.float32)
