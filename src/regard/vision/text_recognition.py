"""Read a strip of text: its characters, how sure each is, and where in the strip it stands.

For every eight pixels of a strip the network answers how probable each character of its alphabet is there, or
none. The best one is taken at each place, and neighbours that are the same are one character (connectionist
temporal classification, Graves, Fernández, Gomez and Schmidhuber, ICML 2006).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from regard.vision.session import CPU, Session

HEIGHT = 48  # pixels, of what the network reads
LONGEST = 3200  # pixels; what is longer is squeezed
# Strips are padded to this at least, as in training: shorter ones are read worse.
_SHORTEST = 320
_STEP = 8
# The network seldom finds a space probable where letters stand close; this much is enough of a hint.
_SPACE = 0.05


@dataclass(frozen=True, slots=True)
class Character:
    """A character that was read; `start` and `end` are pixels of the strip, `probability` is the network's, 0–1."""

    text: str
    probability: float
    start: float
    end: float


class TextRecogniser:
    """The recogniser. Any number of threads may use it at once."""

    def __init__(self, network: Path, *, threads: int, device: str = CPU, cache: Path | None = None) -> None:
        model = onnx.load(network)
        self.alphabet = _alphabet(model)
        self._session = Session(
            _brief(model, len(self.alphabet) - 1),
            threads=threads,
            device=device,
            shapes={0: (1, 3, HEIGHT, -1)},
            cache=cache,
        )

    def read(self, strip: NDArray[np.uint8]) -> list[Character]:
        """The characters in `strip`, uint8 RGB [48, w, 3], from left to right; a space between words is one."""
        width = max(_SHORTEST, -(-strip.shape[1] // _STEP) * _STEP)
        blob = np.zeros((1, 3, HEIGHT, width), np.float32)
        blob[0, :, :, : strip.shape[1]] = strip[:, :, ::-1].transpose(2, 0, 1) / np.float32(127.5) - 1  # BGR
        best, probability, space = (answer.reshape(-1) for answer in self._session.run(blob))
        starts = np.flatnonzero(np.diff(best, prepend=-1))
        ends = np.append(starts[1:], len(best))
        runs = [
            (self.alphabet[int(best[start])], int(start), int(end)) for start, end in zip(starts, ends, strict=True)
        ]
        step = width / len(best)
        # After "VICTORIA'S" it reads "SECRET" in the padding, surer than anything in the picture.
        letters = [run for run in runs if run[0].strip() and run[1] * step < strip.shape[1]]

        def character(text: str, probabilities: NDArray[np.float32], start: int, end: int) -> Character:
            return Character(text, float(probabilities.max()), start * step, end * step)

        characters: list[Character] = []
        last = 0
        for text, start, end in letters:
            gap = space[max(last - 1, 0) : start + 1]
            if characters and gap.max() > _SPACE:
                characters.append(character(" ", gap, last, start))
            characters.append(character(text, probability[start:end], start, end))
            last = end
        return characters


def _alphabet(model: Any) -> tuple[str, ...]:
    """What each answer of the network stands for: first no character, last a space, else what the file lists."""
    (listed,) = (entry.value for entry in model.metadata_props if entry.key == "character")
    return ("", *listed.split("\n"), " ")


def _brief(model: Any, space: int) -> bytes:
    """The network with three numbers for each place as outputs, instead of one for each of 18,710 characters.

    They are the best character, its probability, and the probability of the character `space`.
    """
    graph = model.graph
    (answer,) = (value.name for value in graph.output)
    for name, number in (("one", 1), ("space_number", space)):
        graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [1], [number]))
    graph.node.extend(
        (
            helper.make_node("TopK", [answer, "one"], ["probability", "place"], axis=-1),
            helper.make_node("Cast", ["place"], ["best"], to=TensorProto.FLOAT),
            helper.make_node("Gather", [answer, "space_number"], ["space"], axis=-1),
        )
    )
    del graph.output[:]
    graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None, 1])
        for name in ("best", "probability", "space")
    )
    return bytes(model.SerializeToString())
