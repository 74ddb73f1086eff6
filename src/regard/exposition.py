"""Where Prometheus reads the metrics: `/-/metrics` of a server, or a port of their own.

They tell how much a deployment is used and for what, so by default only programs on the same machine get them. A
request that a proxy passed on is not from this machine, whatever address it comes from.
"""

import math
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version

import psycopg
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Metric,
    generate_latest,
    start_http_server,
)
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from regard import metrics
from regard.operations.context import Services
from regard.store.condition import Condition, condition

LOOPBACK = frozenset({"127.0.0.1", "::1"})
_PASSED_ON = ("forwarded", "via", "x-forwarded-for", "x-real-ip")
_TRUSTED_S = 5.0
_STATEMENT_TIMEOUT_MS = 2000


class PortError(Exception):
    """The port of the metrics cannot be had; the text tells the operator why."""


class Current(CollectorRegistry):
    """The metrics, with those that say how things are brought up to date whenever they are read."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self._lock = threading.Lock()
        self._asked_at = -math.inf
        metrics.BUILD.labels(version("regard")).set(1)

    def collect(self) -> Iterator[Metric]:
        vectors, nbytes = self._services.gallery.held()
        metrics.GALLERY_VECTORS.set(vectors)
        metrics.GALLERY_BYTES.set(nbytes)
        used = self._services.database.used_connections
        metrics.CONNECTIONS.labels("used").set(used)
        metrics.CONNECTIONS.labels("free").set(self._services.settings.connections - used)
        with self._lock:
            if time.monotonic() - self._asked_at >= _TRUSTED_S:
                self._ask()
                self._asked_at = time.monotonic()
        yield from REGISTRY.collect()

    def _ask(self) -> None:
        """What only the database knows, over a connection that no request waits for."""
        try:
            with self._services.database.connect_apart() as connection:
                connection.execute(f"SET statement_timeout = {_STATEMENT_TIMEOUT_MS}")
                _show(condition(connection))
            metrics.DATABASE_UP.set(1)
        except psycopg.Error:
            metrics.DATABASE_UP.set(0)


def _show(now: Condition) -> None:
    metrics.JOBS.clear()
    for (kind, status), count in now.jobs.items():
        metrics.JOBS.labels(kind, status).set(count)
    for state in ("todo", "doing"):
        metrics.QUEUE_TASKS.labels(state).set(now.tasks.get(state, 0))
    metrics.QUEUE_AGE.set(now.oldest_s)
    metrics.AUDIT_RECORDS.set(now.audit_records)
    metrics.CHECKPOINT_RECORDS.set(now.checkpoint_records)
    metrics.CHECKPOINT_TIME.set(0 if now.checkpoint_at is None else now.checkpoint_at.timestamp())


def routes(services: Services) -> list[Route]:
    """The address of the metrics, unless they have a port of their own."""
    settings = services.settings
    if settings.metrics == "off" or settings.metrics_port is not None:
        return []
    current, threads = Current(services), CapacityLimiter(1)

    async def read(http: HttpRequest) -> Response:
        if settings.metrics == "loopback" and not _is_from_here(http):
            return JSONResponse({"message": "REGARD_METRICS does not allow this."}, 403)
        return Response(await run_sync(generate_latest, current, limiter=threads), media_type=CONTENT_TYPE_LATEST)

    return [Route("/-/metrics", read)]


def serve(services: Services) -> None:
    """Serve the metrics at the port that they have for themselves, if the settings name one. Raises `PortError`."""
    settings = services.settings
    if settings.metrics == "off" or settings.metrics_port is None:
        return
    address = "127.0.0.1" if settings.metrics == "loopback" else settings.host
    try:
        start_http_server(settings.metrics_port, address, Current(services))
    except OSError as error:
        raise PortError(f"REGARD_METRICS_PORT={settings.metrics_port}: {error}") from error


def _is_from_here(http: HttpRequest) -> bool:
    return http.client is not None and http.client.host in LOOPBACK and not any(map(http.headers.get, _PASSED_ON))
