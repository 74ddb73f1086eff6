"""The ASGI application: `POST /` speaks the AWS protocol, `/-/…` is for operators.

A request goes one way: wire → use → operations, and back; `use.chain` says what it passes. Operations are
synchronous and run in threads; the networks in them release the GIL.
"""

import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
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
from regard.operations.context import Context, Handler, Services
from regard.operations.context import Request as Parameters
from regard.use import chain, control, people, reviewing, violations
from regard.use.audit import access
from regard.use.audit.keeper import Keeper, Kind, Refusals
from regard.use.audit.requests import announced, recording
from regard.use.authentication import authenticate
from regard.use.book import shelf_of
from regard.use.chain import Call, Shape, Stage
from regard.use.consent import ConsentStage
from regard.use.decisions import DECISION_HEADER
from regard.use.enforcement import Permission, UsePolicy, book_on
from regard.use.limits import Limits
from regard.use.retention import Interactions, Retention
from regard.use.review import ReviewedMatches
from regard.use.standing import Standing
from regard.wire import protocol
from regard.wire.errors import (
    AccessDeniedException,
    InternalServerError,
    InvalidParameterException,
    ServiceError,
    ThrottlingException,
)
from regard.wire.protocol import Request, Response
from regard.wire.service import operation as operation_model

# Two images of 5 MB in base64 (CompareFaces) and room for the other members.
MAX_BODY_BYTES = 16 * 1024 * 1024
# How the names of operations begin that change nothing and may be carried out twice.
READING = ("Compare", "Describe", "Detect", "Get", "List", "Recognize", "Search")

T = TypeVar("T")

log = structlog.get_logger("regard")


def create_app(services: Services) -> Starlette:
    """The application over running services."""
    limiter = CapacityLimiter(services.settings.requests_at_once)
    stages = every_stage(services)
    keeper = Keeper(services.audit, services.settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await run_sync(keeper.start)
        yield
        await run_sync(keeper.stop)

    async def aws(http: HttpRequest) -> HttpResponse:
        request_id = str(uuid.uuid4())
        try:
            body = await _body(http)
        except ClientDisconnect:
            return HttpResponse(status_code=400)
        client_ip = http.client.host if http.client else ""
        if body is None:
            too_large = InvalidParameterException(f"The request is larger than {MAX_BODY_BYTES} bytes.")
            keeper.refusals.count(Kind(too_large.code, client_ip))
            response = protocol.failure(too_large, request_id)
        else:
            request = Request(
                http.method,
                http.url.path,
                http.url.query,
                [(name.decode("latin-1"), value.decode("latin-1")) for name, value in http.headers.raw],
                body,
                client_ip,
            )
            response = await run_sync(answer, services, stages, keeper.refusals, request, request_id, limiter=limiter)
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
            *control.routes(services),
            *reviewing.routes(services),
            *access.routes(services),
            *people.routes(services),
            Route("/{path:path}", nothing_here),
        ],
        lifespan=lifespan,
    )


def every_stage(services: Services) -> Sequence[Stage]:
    """What a request passes once it is known who signed it, in this order."""
    book = book_on(shelf_of(services.database))
    return (
        Interactions(services.database),  # the first, so that it sees what all others have left of a response
        Standing(),
        Shape(),
        Permission(book),
        ReviewedMatches(),
        UsePolicy(book),
        Retention(services.settings.retention_cap_days),
        ConsentStage(),
        Limits(),
    )


def answer(
    services: Services, stages: Sequence[Stage], refusals: Refusals, request: Request, request_id: str
) -> Response:
    """The response to a request: authenticated, allowed, carried out, on record; every failure an AWS error."""
    started = time.perf_counter()
    entry = log.bind(request_id=request_id)
    headers: dict[str, str] = {}
    try:
        with refusals.counting(request):
            name = protocol.operation_name(request)
            entry = entry.bind(operation=name)
            principal = _insisting(lambda: authenticate(services, request))
        entry = entry.bind(access_key_id=principal.access_key_id)
        context = Context(principal, services)
        call = Call(
            request_id,
            name,
            context,
            request.body,
            client_ip=request.client_ip,
            user_agent=request.header("user-agent") or "",
            headers=headers,
        )
        handler = OPERATIONS.get(name, _unbuilt(name))

        def carry_out() -> dict[str, object]:
            call.context = context
            call.headers.clear()
            call.facts.clear()
            try:
                return chain.run(call, handler, stages)
            except AccessDeniedException as error:
                violations.note(call, error)
                raise

        with recording(services.audit, call, _answered):
            if name.startswith(READING):
                result = _insisting(carry_out)
            else:
                handler = announced(services.audit, call, handler)
                result = carry_out()
        response = protocol.success(operation_model(name), result, request_id, headers)
    except ServiceError as error:
        entry = entry.bind(error=error.code)
        response = protocol.failure(error, request_id, headers)
    except OperationalError as error:
        refused = _answered(error)
        entry = entry.bind(error=refused.code)
        entry.warning("database", cause=str(error.orig))
        response = protocol.failure(refused, request_id)
    except Exception:
        entry.exception("failed")
        response = protocol.failure(InternalServerError(), request_id)
    if decision := headers.get(DECISION_HEADER):
        entry = entry.bind(decision=decision)
    entry.info("request", status=response.status, ms=round((time.perf_counter() - started) * 1000, 1))
    return response


def _answered(error: Exception) -> ServiceError:
    """What a client is told of an exception."""
    if isinstance(error, ServiceError):
        return error
    waited = isinstance(error, OperationalError) and isinstance(error.orig, LockNotAvailable)
    return ThrottlingException() if waited else InternalServerError()


def _insisting(read: Callable[[], T]) -> T:
    """What `read` gives, which is asked again if its connection to the database broke: a restart costs no error."""
    try:
        return read()
    except OperationalError as error:
        if not error.connection_invalidated:
            raise
    return read()


def _unbuilt(name: str) -> Handler:
    def handler(_: Context, __: Parameters) -> dict[str, object]:
        raise AccessDeniedException(f"{name} is not implemented by this deployment.")

    return handler


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
