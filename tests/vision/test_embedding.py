"""Embeddings tell people apart, whichever way the picture comes, and wrong networks are refused."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from regard.settings import settings
from regard.vision.embedding import Embedder, plain
from regard.vision.faces import SFACE, FaceEngine
from regard.vision.models import EmbedderDescription, ModelError

Picture = NDArray[np.uint8]


def _embed(engine: FaceEngine, picture: Picture) -> NDArray[np.float32]:
    return np.asarray(engine.embed(picture, engine.detect(picture)[:1])[0])


def test_the_same_person_is_far_above_a_stranger(engine: FaceEngine, portraits: dict[str, Picture]) -> None:
    vectors = {name: _embed(engine, picture) for name, picture in portraits.items()}
    same, strangers = (
        engine.compare(vectors["obama"][None], np.array([vectors[name] for name in names]))
        for names in (("obama2", "obama3"), ("biden", "astronaut", "hopper"))
    )
    assert engine.similarity.similarity(same).min() > 80
    assert engine.similarity.similarity(strangers).max() < 50


def test_embeddings_have_length_1_and_the_embedder_a_name(engine: FaceEngine, obama: Picture) -> None:
    vectors = engine.embed(obama, engine.detect(obama))
    assert vectors.shape == (1, engine.embedder.dimension)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert engine.model_version == SFACE


def test_no_faces_give_no_embeddings(engine: FaceEngine, obama: Picture) -> None:
    assert engine.embed(obama, []).shape == (0, engine.embedder.dimension)


def test_a_described_face_and_its_detection_embed_alike(engine: FaceEngine, obama: Picture) -> None:
    detections = engine.detect(obama)
    faces = engine.describe(obama, detections, frozenset())
    assert engine.embed(obama, faces) == pytest.approx(engine.embed(obama, detections), abs=1e-6)


def test_a_mirrored_face_is_the_same_person(engine: FaceEngine, obama: Picture) -> None:
    face = engine.describe(obama, engine.detect(obama), frozenset())[0]
    mirrored = np.ascontiguousarray(obama[:, ::-1])
    points = face.keypoints[[1, 0, 2, 4, 3]]
    points[:, 0] = obama.shape[1] - 1 - points[:, 0]
    before, after = engine.embedder.embed(obama, face.keypoints), engine.embedder.embed(mirrored, points)
    assert float(before @ after) > 0.985


@pytest.mark.parametrize("degrees", [-50, -35, 40, 70])
def test_a_tilted_face_is_the_same_person(engine: FaceEngine, portraits: dict[str, Picture], degrees: float) -> None:
    picture = portraits["astronaut"]
    box = engine.detect(picture)[0].box
    centre = (box.left + box.width / 2, box.top + box.height / 2)
    turn = cv2.getRotationMatrix2D(centre, degrees, 1)
    tilted = np.asarray(cv2.warpAffine(picture, turn, picture.shape[1::-1], borderMode=cv2.BORDER_REPLICATE), np.uint8)
    assert _embed(engine, picture) @ _embed(engine, tilted) > 0.9


def test_bad_light_and_small_size_keep_the_person(engine: FaceEngine, obama: Picture) -> None:
    vector = _embed(engine, obama)
    small = np.asarray(cv2.resize(obama, None, fx=0.2, fy=0.2, interpolation=cv2.INTER_AREA), np.uint8)
    for worse in (small, (obama * 0.4).astype(np.uint8)):
        assert engine.similarity.similarity(engine.compare(vector[None], _embed(engine, worse)[None])) > 99


def test_folded_weights_are_what_onnx_computes(tmp_path: Path) -> None:
    quantised = np.arange(-12, 12, dtype=np.int8).reshape(2, 12)
    scale = np.array([[0.5, 2.0, 4.0], [1.0, 0.25, 8.0]], np.float32)
    zero = np.array([[1, 0, -3], [2, -1, 0]], np.int8)
    node = helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=1, block_size=4)
    graph = helper.make_graph(
        [node, helper.make_node("Gemm", ["x", "d"], ["y"], transB=1)],
        "block",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [onnx.numpy_helper.from_array(a, n) for a, n in ((quantised, "w"), (scale, "s"), (zero, "z"))],
    )
    file = tmp_path / "block.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), file)
    x = np.linspace(-1, 1, 12, dtype=np.float32)[None]
    (expected,) = ReferenceEvaluator(onnx.load(file)).run(None, {"x": x})
    content, inputs = plain(file)
    folded = onnx.load_from_string(content)
    assert inputs == ["x"]
    assert [n.op_type for n in folded.graph.node] == ["Gemm"]
    (found,) = ReferenceEvaluator(folded).run(None, {"x": x})
    assert np.asarray(found) == pytest.approx(np.asarray(expected))


def _network(file: Path, output: list[int | str], size: int = 24) -> Path:
    """A network [n, 3, size, size] → `output` that averages over the picture, or keeps it."""
    flat = len(output) == 2
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Flatten", ["p"], ["y"])]
    if not flat:
        nodes = [helper.make_node("Relu", ["x"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "own",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    return file


def _describe(network: Path, size: int = 64) -> EmbedderDescription:
    return EmbedderDescription(task="embedder", network=network, size=size, colour="bgr", scale=1 / 255)


def test_an_owners_network_gets_its_colours_and_scale(tmp_path: Path) -> None:
    embedder = Embedder(_describe(_network(tmp_path / "own.onnx", ["n", 3], 64)), name="own", threads=1)
    picture = np.zeros((200, 200, 3), np.uint8)
    picture[:] = (255, 128, 0)
    keypoints = np.array([[80, 80], [120, 80], [100, 100], [85, 120], [115, 120]], np.float32)
    vector = embedder.embed(picture, keypoints)
    assert vector == pytest.approx(np.array([0, 128, 255]) / np.hypot(128, 255), abs=1e-3)


def test_networks_that_are_no_embedders_are_refused_at_load(tmp_path: Path) -> None:
    pictures = _network(tmp_path / "pictures.onnx", ["n", 3, 64, 64], 64)
    garbage = tmp_path / "garbage.onnx"
    garbage.write_bytes(b"not a network")
    other_size = _network(tmp_path / "other.onnx", ["n", 3], 64)
    with pytest.raises(ModelError, match=r"pictures\.onnx is no face embedder: it answers"):
        Embedder(_describe(pictures), name="own", threads=1)
    with pytest.raises(ModelError, match=r"garbage\.onnx is no face embedder"):
        Embedder(_describe(garbage), name="own", threads=1)
    assert Embedder(_describe(other_size), name="own", threads=1).dimension == 3


def test_an_owners_embedder_without_calibration_is_refused(tmp_path: Path, cache: Path) -> None:
    _network(tmp_path / "own.onnx", ["n", 3], 64)
    file = tmp_path / "own.toml"
    file.write_text('task = "embedder"\nnetwork = "own.onnx"\nsize = 64\ncolour = "rgb"\n')
    with pytest.raises(ModelError, match="similarity"):
        FaceEngine.load(settings().model_copy(update={"cache": cache, "embedder": file}))


def test_an_owners_embedder_takes_the_place_of_the_shipped_one(tmp_path: Path, cache: Path, obama: Picture) -> None:
    _network(tmp_path / "own.onnx", ["n", 3], 64)
    file = tmp_path / "own.toml"
    file.write_text(
        'task = "embedder"\nnetwork = "own.onnx"\nsize = 64\ncolour = "rgb"\nsimilarity = [[0.5, 50], [0.9, 99]]\n'
    )
    engine = FaceEngine.load(settings().model_copy(update={"cache": cache, "embedder": file}))
    assert engine.embed(obama, engine.detect(obama)).shape == (1, 3)
    assert engine.model_version.startswith("own-")
    assert engine.similarity.score_at(99) == pytest.approx(0.9)


def test_an_owners_embedder_takes_its_calibration_from_a_file(tmp_path: Path, cache: Path) -> None:
    _network(tmp_path / "own.onnx", ["n", 3], 64)
    file = tmp_path / "own.toml"
    file.write_text('task = "embedder"\nnetwork = "own.onnx"\nsize = 64\ncolour = "rgb"\ncalibration = "own.json"\n')
    own = settings().model_copy(update={"cache": cache, "embedder": file})
    uncalibrated = FaceEngine.load(own, calibrated=False)
    knots = {"embedder": uncalibrated.model_version, "cohort": None, "knots": [[0.2, 50], [0.4, 80]]}
    with pytest.raises(ModelError, match=r"own\.json"):
        FaceEngine.load(own)
    (tmp_path / "own.json").write_text(json.dumps(knots))
    assert FaceEngine.load(own).similarity.score_at(80) == pytest.approx(0.4)
