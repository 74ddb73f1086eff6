"""Object storage: the bytes behind an `S3Object`, from a local folder or from S3.

A subfolder of the folder of local buckets is a bucket, so that everything runs with no cloud; other buckets
are looked for in S3, where the operator has turned that on. A client is told one thing about every object
that it cannot have, as at AWS: who may not read a bucket shall not learn what is in it. The operator finds
the true cause in the log.
"""

import os
import stat
from pathlib import Path, PurePosixPath

import boto3
import structlog
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from regard.media.images import ImageTooLarge
from regard.settings import Settings

_log = structlog.get_logger(__name__)

# Ours: an unreachable endpoint answers the client within about 20 seconds.
_CONFIG = Config(connect_timeout=4, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 2})


class ObjectUnavailable(Exception):
    """An object that cannot be read, whatever the reason; the text is AWS's, fit for the client."""

    def __init__(self) -> None:
        super().__init__("Unable to get object metadata from S3. Check object key, region and/or access permissions.")


class ObjectStore:
    """Reads objects from local buckets and from S3, as the settings say. Safe to use from many threads."""

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
        try:
            folder = self._local(bucket)
            if folder:
                return _read_file(folder, name, version, limit)
            return self._read_s3(bucket, name, version, limit)
        except (OSError, ValueError, RuntimeError, BotoCoreError, ClientError) as cause:
            _log.warning("object unavailable", bucket=bucket, name=name, version=version, cause=str(cause))
            raise ObjectUnavailable from cause

    def _local(self, bucket: str) -> Path | None:
        if self._buckets is None:
            return None
        if bucket in ("", ".", "..") or "/" in bucket:
            raise ValueError("not a bucket's name")
        folder = self._buckets / bucket
        return folder if folder.is_dir() else None

    def _read_s3(self, bucket: str, name: str, version: str | None, limit: int) -> bytes:
        if self._s3 is None:
            raise ValueError("no such local bucket, and S3 is off (REGARD_S3)")
        which = {"VersionId": version} if version else {}
        response = self._s3.get_object(Bucket=bucket, Key=name, **which)
        with response["Body"] as body:
            _refuse_above(limit, response.get("ContentLength", 0))
            data: bytes = body.read(limit + 1)
        _refuse_above(limit, len(data))
        return data


def _read_file(folder: Path, name: str, version: str | None, limit: int) -> bytes:
    if version:
        raise ValueError("local buckets keep no versions")
    if PurePosixPath(name).is_absolute() or ".." in name.split("/"):
        raise ValueError("the name leads out of its bucket")
    file = (folder / name).resolve(strict=True)  # RuntimeError, before Python 3.13, for links in a circle
    if not file.is_relative_to(folder.resolve()):
        raise ValueError("a symbolic link leads out of the bucket")
    # Without blocking, for a pipe in the folder would hold the request forever.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(file, flags), "rb") as opened:
        status = os.fstat(opened.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        _refuse_above(limit, status.st_size)
        data = opened.read(limit + 1)
    _refuse_above(limit, len(data))
    return data


def _refuse_above(limit: int, size: int) -> None:
    if size > limit:
        raise ImageTooLarge(f"{size} bytes; at most {limit}")
