"""The ASGI application: `POST /` speaks the AWS protocol, `/-/…` is for operators.

A request goes one way: wire → use → operations, and back; `use.chain` says what it passes. Operations are
synchronous and run in threads; the networks in them release the GIL.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import TypeVar

import structlog
from anyio.to_thread import run_sync
from sqlalchemy.exc import OperationalError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.responses import Response as HttpResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, bound_contextvars

from regard import metrics
from regard.admission import Admission, SlowClient
from regard.evaluate import pages
from regard.exposition import routes as metrics_routes
from regard.http import framing
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
from regard.use.failures import answered, logged
from regard.use.limits import Limits
from regard.use.resuming import Results
from regard.use.retention import Interactions, Retention
from regard.use.review import ReviewedMatches
from regard.use.room import Room
from regard.use.standing import Standing
from regard.wire import protocol
from regard.wire.errors import AccessDeniedException, ServiceError
from regard.wire.protocol import Request, Response
from regard.wire.service import operation as operation_model

# How the names of operations begin that change nothing and may be carried out twice.
READING = ("Compare", "Describe", "Detect", "Get", "List", "Recognize", "Search")

T = TypeVar("T")

log = structlog.get_logger("regard")


def create_app(services: Services, readiness: Readiness | None = None) -> ASGIApp:
    """The application over running services."""
    keeper, admission = Keeper(services.audit, services.settings), Admission(services.settings)
    aws = Aws(services, keeper, admission)
    others = _others(services, keeper, admission, readiness or Readiness(services.database))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["type"] == "http" and scope["path"] == "/" and scope["method"] == "POST"
        await (aws if asked else others)(scope, receive, send)

    return app


class Aws:
    """What `POST /` is answered by. ASGI without Starlette, whose way to it takes as much time as HTTP itself."""

    def __init__(self, services: Services, keeper: Keeper, admission: Admission) -> None:
        self._services, self._refusals, self._admission = services, keeper.refusals, admission
        self._threads = ThreadPoolExecutor(services.settings.requests_at_once, "request")
        self._stages = every_stage(services)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = str(uuid.uuid4())
        try:
            response = await self._response(scope, receive, request_id)
        except ClientDisconnect:
            response = Response(400, [], b"")
        except SlowClient:
            response = Response(408, [("connection", "close")], b"")
        except ServiceError as refused:
            self._refusals.count(Kind(refused.code, _client_ip(scope)))
            metrics.REQUESTS.labels(metrics.UNKNOWN, refused.code).inc()
            response = protocol.failure(refused, request_id)
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        headers.append(framing(response.body, scope["http_version"]))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    async def _response(self, scope: Scope, receive: Receive, request_id: str) -> Response:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        with self._admission.room() as room:
            body = await self._admission.body(headers, receive, room)
            async with self._admission.turn(receive):
                request = Request(
                    scope["method"],
                    scope["path"],
                    scope["query_string"].decode("latin-1"),
                    headers,
                    body,
                    _client_ip(scope),
                )
                return await asyncio.get_running_loop().run_in_executor(
                    self._threads,
                    copy_context().run,  # what is bound to the log lines of a request ends with it
                    answer,
                    self._services,
                    self._stages,
                    self._refusals,
                    request,
                    request_id,
                )


def _client_ip(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else ""


def _others(services: Services, keeper: Keeper, admission: Admission, ready: Readiness) -> Starlette:
    """What is there for operators and for people."""
    door = control.Door(services, keeper.refusals, admission)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await run_sync(keeper.start)
        yield
        await run_sync(keeper.stop)

    async def healthz(_: HttpRequest) -> HttpResponse:
        return PlainTextResponse("ok\n")

    async def readyz(_: HttpRequest) -> HttpResponse:
        objection = await ready.objection()
        return PlainTextResponse("ok\n") if objection is None else PlainTextResponse(f"{objection}\n", 503)

    async def nothing_here(http: HttpRequest) -> HttpResponse:
        return JSONResponse({"message": f"Nothing is served at {http.url.path}."}, 404)

    return Starlette(
        routes=[
            Route("/-/healthz", healthz),
            Route("/-/readyz", readyz),
            *metrics_routes(services),
            *pages.routes(services.settings),
            *control.routes(door),
            *reviewing.routes(door),
            *access.routes(door),
            *people.routes(door),
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
        Results(),
        Permission(book),
        ReviewedMatches(),
        UsePolicy(book),
        Retention(services.settings.retention_cap_days),
        ConsentStage(),
        Limits(),
        Room(services.database, services.settings.disk_reserve_mb << 20),
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
        with refusals.counting(request) as found:
            name = protocol.operation_name(request)
            bind_contextvars(operation=name)
            principal = _insisting(lambda: authenticate(services, request, found))
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
    except Exception as error:
        refused = logged(error)
        code = refused.code
        response = protocol.failure(refused, request_id)
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
        call.headers.clear()
        call.facts.clear()
        try:
            return chain.run(call, handler, stages)
        except AccessDeniedException as error:
            violations.note(call, error)
            raise
        finally:
            # A guard knows its call. In a circle both, and the picture, would outlast the request until Python looks
            # for such.
            call.context = context

    with recording(services.audit, call, answered):
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
