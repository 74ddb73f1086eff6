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
from anyio.to_thread import run_sync
from psycopg.errors import LockNotAvailable
from sqlalchemy.exc import OperationalError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.responses import Response as HttpResponse
from starlette.routing import Route
from structlog.contextvars import bind_contextvars, bound_contextvars

from regard import metrics
from regard.admission import Admission, SlowClient
from regard.evaluate import pages
from regard.exposition import routes as metrics_routes
from regard.operations import OPERATIONS
from regard.operations.context import Context, Handler, Services
from regard.operations.context import Request as Parameters
from regard.readiness import Readiness
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
from regard.use.room import Room
from regard.use.standing import Standing
from regard.wire import protocol
from regard.wire.errors import (
    AccessDeniedException,
    InternalServerError,
    ServiceError,
    ThrottlingException,
)
from regard.wire.protocol import Request, Response
from regard.wire.service import operation as operation_model

# How the names of operations begin that change nothing and may be carried out twice.
READING = ("Compare", "Describe", "Detect", "Get", "List", "Recognize", "Search")

T = TypeVar("T")

log = structlog.get_logger("regard")


def create_app(services: Services, readiness: Readiness | None = None) -> Starlette:
    """The application over running services."""
    ready = readiness or Readiness(services.database)
    admission = Admission(services.settings)
    stages = every_stage(services)
    keeper = Keeper(services.audit, services.settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await run_sync(keeper.start)
        yield
        await run_sync(keeper.stop)

    async def aws(http: HttpRequest) -> HttpResponse:
        request_id = str(uuid.uuid4())
        client_ip = http.client.host if http.client else ""
        try:
            with admission.room() as room:
                body = await admission.body(http, room)
                async with admission.turn(http):
                    request = Request(
                        http.method,
                        http.url.path,
                        http.url.query,
                        [(name.decode("latin-1"), value.decode("latin-1")) for name, value in http.headers.raw],
                        body,
                        client_ip,
                    )
                    response = await run_sync(
                        answer, services, stages, keeper.refusals, request, request_id, limiter=admission.threads
                    )
        except ClientDisconnect:
            return HttpResponse(status_code=400)
        except SlowClient:
            return HttpResponse(status_code=408, headers={"connection": "close"})
        except ServiceError as refused:
            keeper.refusals.count(Kind(refused.code, client_ip))
            metrics.REQUESTS.labels(metrics.UNKNOWN, refused.code).inc()
            response = protocol.failure(refused, request_id)
        return HttpResponse(response.body, response.status, dict(response.headers))

    async def healthz(_: HttpRequest) -> HttpResponse:
        return PlainTextResponse("ok\n")

    async def readyz(_: HttpRequest) -> HttpResponse:
        objection = await ready.objection()
        return PlainTextResponse("ok\n") if objection is None else PlainTextResponse(f"{objection}\n", 503)

    async def nothing_here(http: HttpRequest) -> HttpResponse:
        return JSONResponse({"message": f"Nothing is served at {http.url.path}."}, 404)

    return Starlette(
        routes=[
            Route("/", aws, methods=["POST"]),
            Route("/-/healthz", healthz),
            Route("/-/readyz", readyz),
            *metrics_routes(services),
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
        Room(services.database.folder, services.settings.disk_reserve_mb),
    )


def answer(
    services: Services, stages: Sequence[Stage], refusals: Refusals, request: Request, request_id: str
) -> Response:
    """The response to a request: authenticated, allowed, carried out, on record; every failure an AWS error."""
    with bound_contextvars(request_id=request_id):
        return _answer(services, stages, refusals, request, request_id)


def _answer(
    services: Services, stages: Sequence[Stage], refusals: Refusals, request: Request, request_id: str
) -> Response:
    started = time.perf_counter()
    name, code = metrics.UNKNOWN, metrics.SUCCESS
    headers: dict[str, str] = {}
    call: Call | None = None
    try:
        with refusals.counting(request):
            name = protocol.operation_name(request)
            bind_contextvars(operation=name)
            principal = _insisting(lambda: authenticate(services, request))
        bind_contextvars(access_key_id=principal.access_key_id)
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
        response = protocol.success(operation_model(name), _result(services, stages, call), request_id, headers)
    except ServiceError as error:
        code = error.code
        response = protocol.failure(error, request_id, headers)
    except OperationalError as error:
        refused = _answered(error)
        code = refused.code
        log.warning("database", cause=str(error.orig))
        response = protocol.failure(refused, request_id)
    except Exception:
        code = InternalServerError().code
        log.exception("failed")
        response = protocol.failure(InternalServerError(), request_id)
    seconds = time.perf_counter() - started
    _count(name, code, seconds, call)
    told = {} if code == metrics.SUCCESS else {"error": code}
    if decision := headers.get(DECISION_HEADER):
        told["decision"] = decision
    log.info("request", **told, status=response.status, ms=round(seconds * 1000, 1))
    return response


def _result(services: Services, stages: Sequence[Stage], call: Call) -> dict[str, object]:
    """What a call gives, on record."""
    context, handler = call.context, OPERATIONS.get(call.operation, _unbuilt(call.operation))

    def carry_out(handler: Handler) -> dict[str, object]:
        call.context = context
        call.headers.clear()
        call.facts.clear()
        try:
            return chain.run(call, handler, stages)
        except AccessDeniedException as error:
            violations.note(call, error)
            raise

    with recording(services.audit, call, _answered):
        if call.operation.startswith(READING):
            return _insisting(lambda: carry_out(handler))
        return carry_out(announced(services.audit, call, handler))


def _count(name: str, code: str, seconds: float, call: Call | None) -> None:
    metrics.REQUESTS.labels(name, code).inc()
    metrics.REQUEST_SECONDS.labels(name).observe(seconds)
    decision = call.facts.get("decision", {}) if call is not None else {}
    if decision.get("effect") == "deny":
        policy = str(decision.get("policy") or "").partition("@")[0]
        metrics.DENIALS.labels(policy, str(decision.get("rule") or "")).inc()


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
