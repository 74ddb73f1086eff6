"""Pinning: a copy of each checkpoint where whoever can change the database cannot change it.

To a file, added at its end (give it to another user and make it append-only), or to an object of its own in a
bucket (with Object Lock). `regard audit checkpoint` prints one for everything else: git, mail, a printer.
"""

import os
from pathlib import Path

import boto3
from botocore.config import Config

from regard.settings import Settings
from regard.use.audit.log import AuditError

_S3 = "s3://"
_CONFIG = Config(connect_timeout=4, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 2})


def pin(settings: Settings, note: str, size: int) -> None:
    """Put a checkpoint of `size` records where `REGARD_AUDIT_PIN` says; nothing if it is unset.

    OSError, or one of botocore's errors, if that cannot be.
    """
    where = settings.audit_pin
    if where is None:
        return
    if not where.startswith(_S3):
        _to_file(Path(where), note)
        return
    bucket, _, prefix = where.removeprefix(_S3).partition("/")
    if not bucket:
        raise AuditError("REGARD_AUDIT_PIN is s3:// with no bucket")
    session = boto3.session.Session()
    client = session.client("s3", region_name=session.region_name or settings.region, config=_CONFIG)
    name = f"{size:020}.txt"
    client.put_object(
        Bucket=bucket,
        Key=f"{prefix.rstrip('/')}/{name}" if prefix else name,
        Body=note.encode(),
        ContentType="text/plain; charset=utf-8",
    )


def _to_file(path: Path, note: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644), "wb") as file:
        file.write(note.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
