"""Logs: one line per event on standard error, readable or JSON. Images and secrets are never logged."""

import logging
import sys

import structlog
from structlog.tracebacks import ExceptionDictTransformer

from regard.settings import Settings

# Without the values of variables: among them are pictures, embeddings and secrets.
_TRACEBACKS = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))


def configure(level: str, *, as_json: bool) -> None:
    """Set up structlog and, beneath it, the loggers of libraries."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(
        level=max(number, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            *(
                [_TRACEBACKS, structlog.processors.JSONRenderer()]
                if as_json
                else [
                    structlog.dev.ConsoleRenderer(
                        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
                    )
                ]
            ),
        ],
        cache_logger_on_first_use=True,
    )


def log_start(settings: Settings) -> None:
    """Say where the server can be reached."""
    structlog.get_logger("regard").info(
        "serving",
        endpoint=f"http://{settings.host}:{settings.port}",
        region=settings.region,
        home=str(settings.home),
        database="yours" if settings.database_url else "embedded",
    )


def log_work(settings: Settings) -> None:
    """Say that a worker without a server is at work."""
    structlog.get_logger("regard").info(
        "working",
        at_once=max(settings.workers, 1),
        home=str(settings.home),
        database="yours" if settings.database_url else "embedded",
    )
