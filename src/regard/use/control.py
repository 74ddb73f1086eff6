"""The control plane of use: what officers and reviewers do, over HTTP at `/-/…`.

Requests are signed as those of the AWS API; the role of the key must allow the action that an address stands for.
Whoever does something here is on record in the audit log.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from anyio.to_thread import run_sync
from pydantic import ValidationError
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from structlog.contextvars import bind_contextvars

from regard.operations.context import Services
from regard.store import policies
from regard.use.authentication import authenticate
from regard.use.book import book_of, compiled, shelf_of
from regard.use.failures import logged
from regard.use.keys import Principal
from regard.use.policy import PolicyError
from regard.use.standing import objection
from regard.use.trial import Case, decide
from regard.wire.errors import AccessDeniedException, InvalidParameterException, ServiceError
from regard.wire.protocol import Request

MAX_BODY_BYTES = 1 << 20
COMMAND = "command"  # the event of the audit log


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of the control plane by someone who may make it."""

    services: Services
    principal: Principal
    parameters: Mapping[str, str]  # of the path and of the query
    body: bytes


class NothingThere(Exception):
    """What is asked for does not exist; the text says what."""


Work = Callable[[Asked], Any]
"""Answers with what JSON has, or with a response."""


def endpoint(
    services: Services, action: str, work: Work, *told: type[Exception]
) -> Callable[[HttpRequest], Awaitable[Response]]:
    """An address at which `work` is done for keys whose role allows the action.

    Exceptions of the types `told` have texts that are for the caller, about what he asked for.
    """

    async def answer(http: HttpRequest) -> Response:
        body = await _body(http)
        if body is None:
            return _told(f"The request is larger than {MAX_BODY_BYTES} bytes.", 413)
        parameters = {**http.path_params, **http.query_params}
        return await run_sync(_answer, services, action, work, told, signed(http, body), parameters)

    return answer


async def _body(http: HttpRequest) -> bytes | None:
    """The body; None if it is too large, of which no more is kept than may be."""
    body = b""
    async for chunk in http.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return body


def _answer(
    services: Services,
    action: str,
    work: Work,
    told: tuple[type[Exception], ...],
    request: Request,
    parameters: Mapping[str, str],
) -> Response:
    bind_contextvars(operation=action.removeprefix("regard:"))
    try:
        principal = permitted(services, request, action)
        bind_contextvars(access_key_id=principal.access_key_id)
        answer = work(Asked(services, principal, parameters, request.body))
        services.audit.record(
            COMMAND,
            account=principal.account_id,
            principal=principal.access_key_id,
            op=action.removeprefix("regard:"),
            client={"ip": request.client_ip},
        )
        return answer if isinstance(answer, Response) else JSONResponse(answer)
    except AccessDeniedException as error:
        return _told(error.message, 403)
    except InvalidParameterException as error:
        return _told(error.message, 400)
    except ServiceError as error:
        return _told(error.message, 401)
    except NothingThere as error:
        return _told(str(error), 404)
    except ValidationError as error:
        return _told("\n".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()), 400)
    except told as error:
        return _told(str(error), 400)
    except Exception as error:
        return _told(logged(error).message, 500)


def _told(message: str, status_code: int) -> Response:
    return JSONResponse({"message": message}, status_code)


def signed(http: HttpRequest, body: bytes) -> Request:
    """The request as its signature is verified on."""
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in http.headers.raw]
    address = http.client.host if http.client else ""
    return Request(http.method, http.url.path, http.url.query, headers, body, address)


def permitted(services: Services, request: Request, action: str) -> Principal:
    """Who signed a request of the control plane, provided that the key's role allows the action.

    AccessDeniedException if it does not, or the key may not call at all; else what `authenticate` raises.
    """
    principal = authenticate(services, request)
    if (found := objection(principal, request.client_ip, action)) is not None:
        raise AccessDeniedException(f"{found[0].capitalize()} forbids {action}: {found[1]}.")
    document = shelf_of(services.database).at(services.database, principal.epoch).roles.get(principal.role)
    values = {"aws:SourceIp": request.client_ip, "aws:PrincipalAccount": principal.account_id}
    if document is None or not document.verdict(action, "*", values).allowed:
        raise AccessDeniedException(f"The role {principal.role} of {principal.access_key_id} does not allow {action}.")
    return principal


class Trial(Case):
    """A case, and texts of policies that are tried in place of those of their names."""

    try_policies: tuple[str, ...] = ()


def routes(services: Services) -> list[Route]:
    """The addresses that have to do with policies."""
    return [Route("/-/policies/test", endpoint(services, "regard:TestPolicy", _test, PolicyError), methods=["POST"])]


def _test(asked: Asked) -> Any:
    trial = Trial.model_validate_json(asked.body)
    with asked.services.database.read() as connection:
        stored = policies.in_force(connection)
    book = book_of(0, stored, extra=[compiled(text) for text in trial.try_policies])
    return asdict(decide(asked.services, book, trial))
