"""The ASGI application: `POST /` speaks the AWS protocol, `/-/…` is for operators.

A request goes one way: wire → use → operations, and back. Operations are synchronous and run in threads;
the networks in them release the GIL.
"""

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import structlog
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from psycopg.errors import LockNotAvailable
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.responses import Response as HttpResponse
from starlette.routing import Route

from regard.evaluate import pages
from regard.operations import OPERATIONS
from regard.operations.context import Context, Services
from regard.use import keys
from regard.use.keys import Principal
from regard.wire import protocol, sigv4
from regard.wire.errors import (
    AccessDeniedException,
    InternalServerError,
    InvalidParameterException,
    ServiceError,
    ThrottlingException,
)
from regard.wire.parse import parse
from regard.wire.protocol import Request, Response
from regard.wire.service import operation as operation_model
from regard.wire.validate import validate

# Two images of 5 MB in base64 (CompareFaces) and room for the other members.
MAX_BODY_BYTES = 16 * 1024 * 1024
# How the names of operations begin that change nothing and may be carried out twice.
READING = ("Compare", "Describe", "Detect", "Get", "List", "Recognize", "Search")

T = TypeVar("T")

log = structlog.get_logger("regard")


def create_app(services: Services) -> Starlette:
    """The application over running services."""
    limiter = CapacityLimiter(services.settings.requests_at_once)

    async def aws(http: HttpRequest) -> HttpResponse:
        request_id = str(uuid.uuid4())
        try:
            body = await _body(http)
        except ClientDisconnect:
            return HttpResponse(status_code=400)
        if body is None:
            response = protocol.failure(
                InvalidParameterException(f"The request is larger than {MAX_BODY_BYTES} bytes."), request_id
            )
        else:
            request = Request(
                http.method,
                http.url.path,
                http.url.query,
                [(name.decode("latin-1"), value.decode("latin-1")) for name, value in http.headers.raw],
                body,
            )
            response = await run_sync(answer, services, request, request_id, limiter=limiter)
        return HttpResponse(response.body, response.status, dict(response.headers))

    async def healthz(_: HttpRequest) -> HttpResponse:
        try:
            await run_sync(_ping, services)
        except SQLAlchemyError:
            return PlainTextResponse("the database does not answer\n", 503)
        return PlainTextResponse("ok\n")

    async def nothing_here(http: HttpRequest) -> HttpResponse:
        return JSONResponse({"message": f"Nothing is served at {http.url.path}."}, 404)

    return Starlette(
        routes=[
            Route("/", aws, methods=["POST"]),
            Route("/-/healthz", healthz),
            *pages.routes(services.settings),
            Route("/{path:path}", nothing_here),
        ]
    )


def answer(services: Services, request: Request, request_id: str) -> Response:
    """The response to a request: authenticated, validated, carried out; every failure an AWS error."""
    started = time.perf_counter()
    entry = log.bind(request_id=request_id)
    try:
        name = protocol.operation_name(request)
        entry = entry.bind(operation=name)
        principal = _insisting(lambda: _authenticate(services, request))
        entry = entry.bind(access_key_id=principal.access_key_id)
        context = Context(principal, services)
        if name.startswith(READING):
            result = _insisting(lambda: _carry_out(context, name, request))
        else:
            result = _carry_out(context, name, request)
        response = protocol.success(operation_model(name), result, request_id)
    except ServiceError as error:
        entry = entry.bind(error=error.code)
        response = protocol.failure(error, request_id)
    except OperationalError as error:
        refused = ThrottlingException() if isinstance(error.orig, LockNotAvailable) else InternalServerError()
        entry = entry.bind(error=refused.code)
        entry.warning("database", cause=str(error.orig))
        response = protocol.failure(refused, request_id)
    except Exception:
        entry.exception("failed")
        response = protocol.failure(InternalServerError(), request_id)
    entry.info("request", status=response.status, ms=round((time.perf_counter() - started) * 1000, 1))
    return response


def _insisting(read: Callable[[], T]) -> T:
    """What `read` gives, which is asked again if its connection to the database broke: a restart costs no error."""
    try:
        return read()
    except OperationalError as error:
        if not error.connection_invalidated:
            raise
    return read()


def _authenticate(services: Services, request: Request) -> Principal:
    """Who signed the request."""
    found: list[Principal] = []

    def secret_of(access_key_id: str) -> str | None:
        with services.database.read() as connection:
            principal = keys.principal(connection, services.sealer, access_key_id)
        if principal is None:
            return None
        found.append(principal)
        return principal.secret

    sigv4.verify(request, secret_of=secret_of, region=services.settings.region, now=datetime.now(UTC))
    return found[0]


def _carry_out(context: Context, name: str, request: Request) -> dict[str, object]:
    operation = operation_model(name)
    parameters = parse(operation, request.body)
    validate(operation, parameters)
    handler = OPERATIONS.get(name)
    if handler is None:
        raise AccessDeniedException(f"{name} is not implemented by this deployment.")
    return handler(context, parameters)


async def _body(http: HttpRequest) -> bytes | None:
    """The body; None if it is larger than any valid request."""
    chunks, size = [], 0
    async for chunk in http.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _ping(services: Services) -> None:
    with services.database.read() as connection:
        connection.exec_driver_sql("SELECT 1")
