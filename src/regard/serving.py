"""Runs the application: uvicorn that takes its leave in order and does not wait for clients that send nothing.

Asked to end, a server first says so at `/-/readyz`, goes on for `REGARD_DRAIN_SECONDS`, takes no more connections
then, and ends the requests that it has. Asked a second time it ends at once, as if it had been killed: what was
answered is on disk, and the next start concludes the rest.
"""

import os
import resource
import signal
import threading
from contextlib import suppress
from functools import partial
from types import FrameType

import structlog
import uvicorn
from starlette.types import ASGIApp

from regard.http import BoundedHttp
from regard.readiness import Readiness
from regard.settings import Settings

ENDING_S = 30
"""So long a server that ends waits for its requests."""
KEEP_ALIVE_S = 75
"""AWS's clients keep idle connections for a minute; one that ended sooner could end under their next request."""

_log = structlog.get_logger("regard")


class Server(uvicorn.Server):
    """uvicorn's server with an orderly end."""

    def __init__(self, config: uvicorn.Config, readiness: Readiness, drain_s: float) -> None:
        super().__init__(config)
        self._readiness, self._drain_s = readiness, drain_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        name = signal.Signals(sig).name
        if self._readiness.ending:
            _log.warning("ends at once", signal=name)
            os._exit(128 + sig)
        self._readiness.end()
        _log.info("ending", signal=name, drain_s=self._drain_s, requests=len(self.server_state.tasks))
        if self._drain_s:
            later = threading.Timer(self._drain_s, super().handle_exit, (sig, frame))
            later.daemon = True
            later.start()
        else:
            super().handle_exit(sig, frame)


def run(app: ASGIApp, settings: Settings, readiness: Readiness) -> None:
    """Serve until a signal ends it, which is passed on to the handler that was there before."""
    _allow_many_connections()
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=partial(BoundedHttp, patience_s=settings.patience_seconds),  # type: ignore[arg-type]
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=list(settings.proxies),
        timeout_graceful_shutdown=ENDING_S,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    Server(config, readiness, settings.drain_seconds).run()


def _allow_many_connections() -> None:
    """As many open files as the system lets this process have: clients beyond the bounds need an answer, too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
