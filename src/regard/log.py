"""Logs: one line per event on standard error, readable or JSON. Images and secrets are never logged.

Lines about a request carry its `request_id`, which the client has in `x-amzn-RequestId`, and those about a job its
`job_id`, from whatever module they come: both are bound to the context in which the work is done. What libraries
log, warnings and worse, looks the same.
"""

import logging
import math
import sys
import time
from collections import defaultdict
from importlib.metadata import version
from typing import Any

import structlog
from structlog.tracebacks import ExceptionDictTransformer

from regard.settings import Settings

# Without the values of variables: among them are pictures, embeddings and secrets.
_TRACEBACKS = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
_TOLD_EVERY_S = 10.0


def configure(level: str, *, as_json: bool) -> None:
    """Set up structlog and, beneath it, the loggers of libraries."""
    number = logging.getLevelNamesMapping()[level.upper()]
    about: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    rendered: list[Any] = (
        [_TRACEBACKS, structlog.processors.JSONRenderer()]
        if as_json
        else [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*about, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        processors=[*about, *rendered],
        cache_logger_on_first_use=True,
    )


def spare(*names: str) -> None:
    """Have loggers of libraries that set up their own log as all others do, and sparingly."""
    for name in names:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.filters.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
        logger.addFilter(Sparing())


class Seldom:
    """What happens over and over is told once in ten seconds, with how often it has happened since."""

    def __init__(self) -> None:
        self._told = -math.inf
        self._times = 0

    def happened(self) -> int:
        """How often since it was last told, this time included; 0 where that is too short a while ago to tell it."""
        self._times += 1
        now = time.monotonic()
        if now - self._told < _TOLD_EVERY_S:
            return 0
        times, self._times, self._told = self._times, 0, now
        return times


class Sparing(logging.Filter):
    """Lets each place in the code that logs be heard but seldom."""

    def __init__(self) -> None:
        super().__init__()
        self._places: defaultdict[tuple[str, int], Seldom] = defaultdict(Seldom)

    def filter(self, record: logging.LogRecord) -> bool:
        times = self._places[record.pathname, record.lineno].happened()
        if times > 1:
            record.msg, record.args = f"{record.getMessage()} ({times - 1} more before it)", None
        return times > 0


def log_start(settings: Settings) -> None:
    """Say where the server can be reached."""
    structlog.get_logger("regard").info(
        "serving",
        version=version("regard"),
        endpoint=settings.endpoint,
        region=settings.region,
        home=str(settings.home),
        database="yours" if settings.database_url else "embedded",
    )


def log_work(settings: Settings) -> None:
    """Say that a worker without a server is at work."""
    structlog.get_logger("regard").info(
        "working",
        version=version("regard"),
        at_once=max(settings.workers, 1),
        home=str(settings.home),
        database="yours" if settings.database_url else "embedded",
    )


def log_end() -> None:
    """Say that all work has been laid down."""
    structlog.get_logger("regard").info("ended")
