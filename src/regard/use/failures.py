"""What becomes of an exception that nobody foresaw: a line or a traceback in the log, and an error that can be told."""

import psycopg
import structlog
from psycopg.errors import LockNotAvailable
from sqlalchemy.exc import OperationalError

from regard.use.audit import AuditError
from regard.wire.errors import InternalServerError, ServiceError, ThrottlingException

_log = structlog.get_logger("regard")


def answered(error: Exception) -> ServiceError:
    """What a client is told of an exception."""
    if isinstance(error, ServiceError):
        return error
    waited = isinstance(error, OperationalError) and isinstance(error.orig, LockNotAvailable)
    return ThrottlingException() if waited else InternalServerError()


def logged(error: Exception) -> ServiceError:
    """The same for one that is being handled and is no ServiceError, which is put in the log."""
    if isinstance(error, OperationalError):
        _log.warning("database", cause=str(error.orig))
    elif isinstance(error, AuditError) and isinstance(error.__cause__, psycopg.Error):
        _log.error("not on record", cause=str(error))  # a line each: on a full disk that is every request
    else:
        _log.exception("failed")
    return answered(error)
