"""Every setting of Regard, in one table, each with a default that works.

A setting is read from the environment as `REGARD_<NAME>` (for example `REGARD_DATABASE_URL`) or, failing
that, from `regard.env` in the data folder. `docs/settings.md` lists them all; a test keeps it complete.
"""

import base64
import os
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, HttpUrl, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

HOME = Path(os.environ.get("REGARD_HOME") or Path.home() / ".regard")

_WAITING_REQUESTS = 6

Capability = Literal["faces", "labels", "text", "moderation", "equipment"]
"""What Regard can see; each needs networks of its own."""


def _names(value: Any) -> Any:
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


class Settings(BaseSettings):
    """The operator's choices; see the `description` of each."""

    model_config = SettingsConfigDict(env_prefix="REGARD_", extra="ignore", frozen=True)

    home: Path = Field(default=HOME, description="Data folder: embedded database and master key.")
    cache: Path = Field(
        default=Path.home() / ".cache" / "regard",
        description="Where fetched networks and compiled ones are kept; may be shared and deleted.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8742, description="Port to listen on.", ge=0, le=65535)
    proxies: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)] = Field(
        default=(),
        description="Addresses of your reverse proxies, separated by commas: whose `X-Forwarded-For` is believed "
        "where access keys are bound to networks.",
    )
    region: str = Field(
        default="us-east-1", description="The AWS region that this server answers for; clients sign with it."
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="`postgresql://…` of your own PostgreSQL 14 or later. Unset: an embedded one.",
    )
    master_key: SecretStr | None = Field(
        default=None,
        description="Base64 of 32 bytes that seal secrets at rest. Unset: the file `master.key`.",
    )
    threads: int = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)),
        description="Cores to use for networks and image decoding.",
        ge=1,
    )
    device: str = Field(
        default="cpu",
        description="What runs the networks: `cpu` (OpenVINO), `cuda` or `cuda:1` (a GPU of Nvidia, by onnxruntime: "
        "`pip install 'regard[cuda]'`), or `onnxruntime` (the same on the CPU); see docs/performance.md.",
        pattern=r"^(cpu|onnxruntime|cuda(:\d+)?)$",
    )
    queue: int = Field(
        default=64,
        description="Requests that may wait for others to end; what comes beyond is answered with "
        "ThrottlingException at once, which SDKs try again.",
        ge=0,
    )
    queue_seconds: float = Field(
        default=20.0,
        description="So long a request may wait, then it is answered with ThrottlingException, too.",
        gt=0,
    )
    bodies_mb: int = Field(
        default=256,
        description="Memory for the bodies of all requests together, in MB; what comes beyond is answered with "
        "ThrottlingException.",
        ge=32,
    )
    patience_seconds: float = Field(
        default=20.0,
        description="So long a client may be silent while it sends a request, then the connection is closed.",
        gt=0,
    )
    drain_seconds: float = Field(
        default=0.0,
        description="So long a server that was asked to end still takes requests while `/-/readyz` says 503, for "
        "a load balancer to notice.",
        ge=0,
    )
    metrics: Literal["off", "loopback", "open"] = Field(
        default="loopback",
        description="Who may read `/-/metrics`: nobody, programs on this machine, or everybody; see "
        "docs/monitoring.md.",
    )
    metrics_port: int | None = Field(
        default=None,
        description="A port for the metrics alone; the server has them at `/-/metrics` if unset, `regard worker` "
        "nowhere.",
        ge=1,
        le=65535,
    )
    workers: int = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)),
        description="Parts of jobs that the server, or `regard worker`, works on at once. "
        "0: the server leaves jobs to `regard worker`.",
        ge=0,
    )
    gallery_memory: int | None = Field(
        default=None,
        description="Megabytes for the codes of faces that searches scan; beyond them, the collection that was "
        "searched longest ago is dropped until it is searched again. Unset: half of the machine's memory.",
        ge=1,
    )
    cluster_threads: int = Field(
        default=1, description="On a cluster: threads of each replica of networks; see docs/cluster.md.", ge=1
    )
    cluster_share: float = Field(
        default=0.2,
        description="On a cluster: the share of a core that each of a replica's threads reserves. Below 1 replicas of "
        "several capabilities share cores, since seldom all are busy; 1 gives each its own.",
        gt=0,
        le=1,
    )
    cluster_replicas: int = Field(
        default=0,
        description="On a cluster: replicas that a capability may grow to; 0: as many as the cores at the first start.",
        ge=0,
    )
    cluster_store_mb: int = Field(
        default=600,
        description="Shared memory for pictures on their way, of each node that Regard starts itself; what comes when "
        "it is full is refused with ThrottlingException, never written to disk.",
        ge=100,
    )
    job_retention_days: int = Field(
        default=7, description="How long the results of a job are kept, in days after its end.", ge=1
    )
    preload: Annotated[tuple[Capability, ...], NoDecode, BeforeValidator(_names)] = Field(
        default=("faces",),
        description="What to load networks for at start, separated by commas; the rest loads when first asked for.",
    )
    tiles: bool = Field(
        default=False,
        description="Let DetectLabels look at parts of pictures, too: finds smaller things and takes longer.",
    )
    buckets: Path | None = Field(
        default=None,
        description="A folder whose subfolders are local buckets for `S3Object`; tried before S3.",
    )
    s3: bool = Field(
        default=False,
        description="Read `S3Object` from S3 through boto3's own configuration "
        "(`AWS_ENDPOINT_URL_S3`, `AWS_PROFILE`, …). Off: only local buckets are read.",
    )
    sns: bool = Field(
        default=False,
        description="Publish to the `NotificationChannel` of jobs through boto3's own configuration "
        "(`AWS_ENDPOINT_URL_SNS`, `AWS_PROFILE`, …). Off: a request with such a channel is refused.",
    )
    webhook_url: HttpUrl | None = Field(
        default=None, description="Where to post a signed message when any job has ended; see docs/jobs.md."
    )
    webhook_secret: SecretStr | None = Field(
        default=None,
        description="What webhooks are signed with: base64 of 24 to 64 bytes, `whsec_` before it or not.",
    )
    detector: Path | None = Field(
        default=None, description="Your own face detector: a description file, see docs/models.md."
    )
    embedder: Path | None = Field(
        default=None, description="Your own face embedder: a description file, see docs/models.md."
    )
    calibration: Path | None = Field(
        default=None,
        description="What Similarity means on your own pictures: a file that `regard calibrate` made.",
    )
    retention_cap_days: int = Field(
        default=1095,
        description="Faces of people whom nobody has met for so many days are deleted; 0: never. "
        "The default is the three years of Illinois' BIPA §15(a); the tag `use:retention-days` may say less.",
        ge=0,
    )
    scrub_hour: int = Field(
        default=3,
        description="Hour of the day, UTC, at which what was deleted leaves the database's files; see docs/privacy.md.",
        ge=0,
        le=23,
    )
    disk_reserve_mb: int = Field(
        default=256,
        description="Free space, in MB, that the embedded database leaves on its disk: below it, requests that would "
        "store something are refused, to be tried again, and jobs wait; reading and deleting go on. 0: none is kept.",
        ge=0,
    )
    audit_pin: str | None = Field(
        default=None,
        description="Where a copy of each checkpoint of the audit log goes: a file, or `s3://bucket/prefix`; "
        "see docs/audit.md.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="DEBUG, INFO, WARNING or ERROR."
    )
    log_json: bool = Field(default=False, description="One JSON object a line instead of readable lines.")

    @model_validator(mode="after")
    def _webhooks_are_signed(self) -> Self:
        if self.webhook_url is not None and self.webhook_secret is None:
            raise ValueError("REGARD_WEBHOOK_URL needs REGARD_WEBHOOK_SECRET")
        if self.webhook_secret is not None and not 24 <= len(self.webhook_key) <= 64:  # as the specification has it
            raise ValueError("REGARD_WEBHOOK_SECRET must be base64 of 24 to 64 bytes")
        return self

    @property
    def webhook_key(self) -> bytes:
        """What webhooks are signed with; empty where there is nothing that can be read."""
        secret = "" if self.webhook_secret is None else self.webhook_secret.get_secret_value()
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except ValueError:
            return b""

    @property
    def endpoint(self) -> str:
        """The URL of a server with these settings, for clients on its machine: what listens on all addresses listens
        on the loopback's, too."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 — bound nowhere
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def requests_at_once(self) -> int:
        """Requests that are worked on at a time: one per core, and those that wait for a database, a lock or S3."""
        return self.threads + _WAITING_REQUESTS

    @property
    def connections(self) -> int:
        """Connections to the database that requests and workers may need at a time: a conclusion has two."""
        return self.requests_at_once + 2 * self.workers


@cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings(_env_file=HOME / "regard.env")  # type: ignore[call-arg]
