"""Object storage: the bytes behind an `S3Object`, from a local folder or from S3, and a place for results.

A subfolder of the folder of local buckets is a bucket, so that everything runs with no cloud; other buckets
are looked for in S3, where the operator has turned that on. A client is told one thing about every object
that it cannot have, as at AWS: who may not read a bucket shall not learn what is in it. The operator finds
the true cause in the log.

Pictures are read whole. Videos are opened and sought in: from S3 they come in ranges of a few megabytes, so that
one of many gigabytes needs neither disk nor memory.
"""

import io
import os
import secrets
import shutil
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import boto3
import structlog
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from regard.media.images import ImageTooLarge
from regard.settings import Settings

_log = structlog.get_logger(__name__)

# Ours: an unreachable endpoint answers the client within about 20 seconds.
_CONFIG = Config(connect_timeout=4, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 2})

# Ours. What a request for a range brings, and how many of these an open object keeps: a demuxer goes to and fro
# between pictures and sound, which lie apart by less than this in any file made for playing.
BLOCK_BYTES = 4 * 1024 * 1024
BLOCKS_KEPT = 6


class ObjectUnavailable(Exception):
    """An object that cannot be read, whatever the reason; the text is AWS's, fit for the client."""

    def __init__(
        self, text: str = "Unable to get object metadata from S3. Check object key, region and/or access permissions."
    ) -> None:
        super().__init__(text)  # given by pickle, on the way from another node


class ObjectChanged(ObjectUnavailable):
    """An object that is no longer the one that was meant: another one of the same name took its place."""


@dataclass(frozen=True, slots=True)
class ObjectHead:
    """The size of an object in bytes, and what tells it from others that bore or will bear its name."""

    size: int
    version_tag: str


class ObjectFile(io.RawIOBase):
    """An object, open for reading; to be closed. For one thread at a time.

    `path` is where a local one lies. Reading raises ObjectUnavailable and ObjectChanged.
    """

    def __init__(
        self, head: ObjectHead, path: Path | None, read_at: Callable[[int, int], bytes], close: Callable[[], None]
    ) -> None:
        super().__init__()
        self.size = head.size
        self.version_tag = head.version_tag
        self.path = path
        self._read_at = read_at
        self._release = close
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """As many bytes as are asked for; fewer at the end alone."""
        left = max(0, self.size - self._position)
        wanted, parts = left if size < 0 else min(size, left), []
        while wanted and (part := self._read_at(self._position, wanted)):
            parts.append(part)
            self._position += len(part)
            wanted -= len(part)
        return b"".join(parts)

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise ValueError("before the beginning")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        if not self.closed:
            self._release()
        super().close()


class ObjectStore:
    """Reads and writes objects in local buckets and in S3, as the settings say. Safe to use from many threads."""

    def __init__(self, settings: Settings) -> None:
        self._buckets = settings.buckets
        self._s3 = None
        if settings.s3:
            session = boto3.session.Session()
            region = session.region_name or settings.region
            self._s3 = session.client("s3", region_name=region, config=_CONFIG)

    def read(self, bucket: str, name: str, version: str | None, limit: int) -> bytes:
        """The bytes of an object, at most `limit` of them.

        A bucket that exists locally hides one of the same name in S3. Local objects have no versions.

        Raises ObjectUnavailable where it cannot be read and ImageTooLarge where it is larger than `limit`.
        """
        with _explained(bucket, name, version):
            folder = self._local(bucket)
            if folder:
                return _read_file(folder, name, version, limit)
            return self._read_s3(bucket, name, version, limit)

    def head(self, bucket: str, name: str, version: str | None) -> ObjectHead:
        """Size and version of an object. Raises ObjectUnavailable."""
        with _explained(bucket, name, version):
            folder = self._local(bucket)
            if not folder:
                return self._head_s3(bucket, name, version)
            with _opened(folder, name, version) as (_, file):
                return _head(file)

    def open(self, bucket: str, name: str, version: str | None, tag: str | None = None) -> ObjectFile:
        """An object to read and to seek in, as long as it stays the one of now or of `tag`, which `head` gave.

        Raises ObjectUnavailable, and ObjectChanged where it is another one by now.
        """
        with _explained(bucket, name, version):
            folder = self._local(bucket)
            found = _open_file(folder, name, version) if folder else self._open_s3(bucket, name, version)
            if tag is not None and found.version_tag != tag:
                found.close()
                raise ObjectChanged
            return found

    def write(self, bucket: str, name: str, data: bytes | BinaryIO) -> None:
        """Makes an object of bytes, or of a file from where it stands on. Readers find the old one or the new one,
        never half of it. Raises ObjectUnavailable where it cannot be written."""
        with _explained(bucket, name, None):
            folder = self._local(bucket)
            content = io.BytesIO(data) if isinstance(data, bytes) else data
            if folder:
                _write_file(folder, name, content)
            else:
                self._client().upload_fileobj(content, bucket, name)

    def _local(self, bucket: str) -> Path | None:
        if self._buckets is None:
            return None
        if bucket in ("", ".", "..") or "/" in bucket:
            raise ValueError("not a bucket's name")
        folder = self._buckets / bucket
        return folder if folder.is_dir() else None

    def _read_s3(self, bucket: str, name: str, version: str | None, limit: int) -> bytes:
        response = self._client().get_object(**_which(bucket, name, version))
        # Entered by itself it would give urllib3's body, which raises errors of its own.
        with closing(response["Body"]) as body:
            _refuse_above(limit, response.get("ContentLength", 0))
            data: bytes = body.read(limit + 1)
        _refuse_above(limit, len(data))
        return data

    def _client(self) -> Any:
        if self._s3 is None:
            raise ValueError("no such local bucket, and S3 is off (REGARD_S3)")
        return self._s3

    def _head_s3(self, bucket: str, name: str, version: str | None) -> ObjectHead:
        response = self._client().head_object(**_which(bucket, name, version))
        return ObjectHead(response["ContentLength"], response["ETag"])

    def _open_s3(self, bucket: str, name: str, version: str | None) -> ObjectFile:
        head = self._head_s3(bucket, name, version)
        which = _which(bucket, name, version) | {"IfMatch": head.version_tag}

        def fetch(start: int, stop: int) -> bytes:
            with _explained(bucket, name, version):
                response = self._client().get_object(**which, Range=f"bytes={start}-{stop - 1}")
                with closing(response["Body"]) as body:
                    data: bytes = body.read()
                if len(data) != stop - start:
                    raise ValueError("the store sent another range than it was asked for")
                return data

        blocks = _Blocks(head.size, fetch)
        return ObjectFile(head, None, blocks.read_at, blocks.clear)


class _Blocks:
    """The latest blocks of an object that is far away; what was used last is kept longest."""

    def __init__(self, size: int, fetch: Callable[[int, int], bytes]) -> None:
        self._size = size
        self._fetch = fetch
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    def read_at(self, position: int, size: int) -> bytes:
        """At least one byte, at most `size`: never beyond the end of a block."""
        number, offset = divmod(position, BLOCK_BYTES)
        return self._block(number)[offset : offset + size]

    def clear(self) -> None:
        self._kept.clear()

    def _block(self, number: int) -> bytes:
        if number not in self._kept:
            start = number * BLOCK_BYTES
            self._kept[number] = self._fetch(start, min(start + BLOCK_BYTES, self._size))
            if len(self._kept) > BLOCKS_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        return self._kept[number]


@contextmanager
def _explained(bucket: str, name: str, version: str | None) -> Iterator[None]:
    """Tells the operator why an object cannot be had, and the client that it cannot."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, BotoCoreError, Boto3Error, ClientError) as cause:
        _log.warning("object unavailable", bucket=bucket, name=name, version=version, cause=str(cause))
        changed = isinstance(cause, ClientError) and cause.response["Error"]["Code"] in ("PreconditionFailed", "412")
        raise (ObjectChanged if changed else ObjectUnavailable) from cause


def _which(bucket: str, name: str, version: str | None) -> dict[str, str]:
    return {"Bucket": bucket, "Key": name} | ({"VersionId": version} if version else {})


def _inside(folder: Path, name: str) -> Path:
    if PurePosixPath(name).is_absolute() or ".." in name.split("/"):
        raise ValueError("the name leads out of its bucket")
    return folder / name


def _refuse_outside(path: Path, folder: Path) -> None:
    if not path.is_relative_to(folder.resolve()):
        raise ValueError("a symbolic link leads out of the bucket")


@contextmanager
def _opened(folder: Path, name: str, version: str | None) -> Iterator[tuple[Path, int]]:
    """The true path of a regular file in a local bucket, and a descriptor of it, closed at the end."""
    if version:
        raise ValueError("local buckets keep no versions")
    # RuntimeError, before Python 3.13, for links in a circle.
    path = _inside(folder, name).resolve(strict=True)
    _refuse_outside(path, folder)
    # Without blocking, for a pipe in the folder would hold the request forever.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise ValueError("not a regular file")
        yield path, file
    finally:
        os.close(file)


def _read_file(folder: Path, name: str, version: str | None, limit: int) -> bytes:
    with _opened(folder, name, version) as (_, file):
        _refuse_above(limit, os.fstat(file).st_size)
        with os.fdopen(file, "rb", closefd=False) as opened:
            data = opened.read(limit + 1)
    _refuse_above(limit, len(data))
    return data


def _open_file(folder: Path, name: str, version: str | None) -> ObjectFile:
    with _opened(folder, name, version) as (path, file):
        kept = os.dup(file)
    return ObjectFile(_head(kept), path, lambda position, size: os.pread(kept, size, position), lambda: os.close(kept))


def _head(file: int) -> ObjectHead:
    status = os.fstat(file)
    return ObjectHead(status.st_size, f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}")


def _write_file(folder: Path, name: str, content: BinaryIO) -> None:
    target = _inside(folder, name)
    if name.endswith("/") or target == folder:
        raise ValueError("the name of a folder")
    _refuse_outside(target.parent.resolve(), folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with draft.open("xb") as file:
            shutil.copyfileobj(content, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()


def _refuse_above(limit: int, size: int) -> None:
    if size > limit:
        raise ImageTooLarge(f"{size} bytes; at most {limit}")
