"""Changes to the files that are handed in: policies, permissions, their tests, proofs, receipts, networks, manifests.

A case is the kind of file and its contents. Only the reader's own error comes of it, which a command tells in a
sentence.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import orjson
import structlog
from tests.fuzz import mutate
from tests.fuzz.engine import Fault

from regard.media.storage import ObjectStore
from regard.operations.bulk import BulkWork
from regard.operations.context import Context
from regard.settings import Settings
from regard.store.jobs import Job
from regard.use import permissions, policy, receipts, trial
from regard.use.audit import merkle, proofs
from regard.use.audit.checkpoints import Checkpoint, NoteError, Signer
from regard.use.book import presets, roles
from regard.use.policy import PolicyError
from regard.use.receipts import ReceiptError
from regard.use.seal import Sealer
from regard.vision import models
from regard.vision.models import ModelError

SEALER = Sealer(bytes(32))
SIGNER = Signer(SEALER)
VALUES = (
    *(
        "1",
        "-1",
        "1e999",
        "nan",
        "99999999999999999999999999",
        "true",
        '""',
        '"\\u0000"',
        '"é"',
        "null",
        "{}",
        "[]",
        "[[]]",
        "[1]",
    ),
    *(
        "1979-05-27",
        "07:32:00",
        "[" * 3000 + "]" * 3000,
        '{"a":' * 3000 + "1" + "}" * 3000,
        '"' + "x" * 5000 + '"',
        '"*"',
        '"\\ud800"',
    ),
)
_NETWORK = (
    'task = "detector"\nnetwork = "net.onnx"\nformat = "scrfd"\ncolour = "rgb"\nsizes = [640, 320]\nanchors = 2\n'
)


@cache
def originals() -> dict[str, tuple[str, ...]]:
    """Good files of each kind."""
    content = '{"seq":1,"time":"2026-01-01T00:00:00Z"}'
    leaf = merkle.leaf(sha256(content.encode()).digest())
    note = SIGNER.sign(Checkpoint(SIGNER.verifier.name, 1, leaf, sha256(b"").digest(), "2026-01-01T00:00:00Z"))
    proof = {
        "proof": proofs.INCLUSION,
        "seq": 1,
        "record": content,
        "path": [],
        "checkpoint": note,
        "key": str(SIGNER.verifier),
    }
    growth = {
        "proof": proofs.CONSISTENCY,
        "earlier": note,
        "path": ["00" * 32],
        "checkpoint": note,
        "key": str(SIGNER.verifier),
    }
    receipt = receipts.sign(SEALER, {"ReceiptId": "r", "Faces": 1}).to_json(SEALER)
    return {
        "policy": tuple(presets().values()),
        "permissions": tuple(roles().values()),
        "cases": tuple(
            f.read_text("utf-8")[:3000] for f in (Path(__file__).parents[1] / "policy" / "decisions").glob("*.toml")
        ),
        "proof": (orjson.dumps(proof).decode(), orjson.dumps(growth).decode()),
        "receipts": (orjson.dumps([receipt]).decode(),),
        "network": (_NETWORK,),
        "manifest": (
            '{"source-ref": "s3://local/a.png"}',
            '{"source-ref": "s3://local/a.png", "metadata": {"a": [1]}}',
        ),
    }


def _changed(text: str, random: Random) -> str:
    """A value is another, as the language of the file has them; or a line, or a part, is missing or twice there."""
    values = list(re.finditer(r'"[^"\n]*"|\d+(?:\.\d+)?|true|false|\[[^\[\]]*\]', text))
    match random.randrange(4):
        case 0 | 1 if values:
            found = random.choice(values)
            return text[: found.start()] + random.choice(VALUES) + text[found.end() :]
        case 2:
            lines = text.splitlines(keepends=True)
            number = random.randrange(len(lines)) if lines else 0
            return "".join(lines[:number] + lines[number : number + 1] * random.choice((0, 2)) + lines[number + 1 :])
        case _:
            return mutate.anyhow(text.encode(), random).decode("utf-8", "replace")


class Documents:
    """The readers, each with the errors that it may raise."""

    def __init__(self, folder: Path) -> None:
        (folder / "local").mkdir()
        (folder / "net.onnx").write_bytes(b"")
        services = SimpleNamespace(objects=ObjectStore(Settings(buckets=folder, s3=False)))
        context = cast(Context, SimpleNamespace(services=services))
        job = cast(Job, SimpleNamespace(request={"OperationsConfig": {"DetectModerationLabels": {}}}))
        bulk = BulkWork(cast(Any, services), lambda _: context)

        def network(text: str) -> None:
            file = folder / "net.toml"
            file.write_text(text, "utf-8")
            models.load_description(file)

        def line(text: str) -> None:
            found = bulk._analyse(context, job, text.encode())
            if found.keys() - {"code", "message", "source-ref"}:
                raise Fault(f"{found}")

        self._readers: dict[str, tuple[Callable[[str], object], tuple[type[Exception], ...]]] = {
            "policy": (policy.read, (PolicyError,)),
            "permissions": (permissions.read, (PolicyError,)),
            "cases": (trial.read_cases, (PolicyError,)),
            "proof": (lambda text: proofs.check(text, SIGNER.verifier), (merkle.ProofError, NoteError)),
            "receipts": (lambda text: receipts.verify(text.encode(), receipts.public_key(SEALER)), (ReceiptError,)),
            "network": (network, (ModelError,)),
            "manifest": (line, ()),
        }

    def generate(self, random: Random) -> bytes:
        kind = random.choice(sorted(self._readers))
        text = random.choice(originals()[kind])
        for _ in range(random.choice((0, 1, 1, 1, 2, 5))):
            text = _changed(text, random)
        return kind.encode() + b"\n" + text.encode("utf-8", "replace")

    def check(self, case: bytes) -> str:
        kind, _, content = case.partition(b"\n")
        read, errors = self._readers[kind.decode()]
        try:
            with structlog.testing.capture_logs():
                read(content.decode())
        except errors as error:
            return type(error).__name__
        return f"{kind.decode()} read"


@contextmanager
def opened(folder: Path) -> Iterator[Documents]:
    yield Documents(folder)
