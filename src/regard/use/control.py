"""The control plane of use: what officers and reviewers do, over HTTP at `/-/…`.

Requests are signed as those of the AWS API; the role of the key must allow the action that an address stands for.
Whoever asks for something here is on record in the audit log, whatever the answer.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from anyio.to_thread import run_sync
from pydantic import ValidationError
from sqlalchemy.engine import Connection
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from structlog.contextvars import bind_contextvars

from regard.admission import Admission, SlowClient
from regard.operations.context import Services
from regard.store import policies
from regard.use.audit.keeper import Refusals
from regard.use.authentication import authenticate
from regard.use.book import book_of, compiled, shelf_of
from regard.use.enforcement import of_caller
from regard.use.failures import logged
from regard.use.keys import Principal
from regard.use.policy import PolicyError
from regard.use.standing import objection
from regard.use.trial import Case, decide
from regard.wire.errors import (
    AccessDeniedException,
    InvalidParameterException,
    ResourceNotFoundException,
    ServiceError,
    ThrottlingException,
)
from regard.wire.protocol import Request

MAX_BODY_BYTES = 1 << 20
COMMAND = "command"  # the event of the audit log


@dataclass(frozen=True, slots=True)
class Door:
    """What requests of the control plane come in by."""

    services: Services
    refusals: Refusals
    admission: Admission


@dataclass(slots=True)
class Asked:
    """A request of the control plane by someone who signed it."""

    services: Services
    principal: Principal
    action: str
    parameters: Mapping[str, str]  # of the path and of the query
    body: bytes
    client_ip: str
    on_record: bool = False

    def note(self, connection: Connection) -> None:
        """Put it on record in the transaction of what it changes; the last thing there."""
        self.services.audit.write(connection, COMMAND, self._facts())
        self.on_record = True

    def noted(self, error: str | None) -> None:
        """Put it on record, and the code of the error that it was answered with, which undoes what was noted."""
        if error is not None or not self.on_record:
            self.services.audit.record(COMMAND, self._facts(), error=error)

    def _facts(self) -> dict[str, Any]:
        return {
            "account": self.principal.account_id,
            "principal": self.principal.access_key_id,
            "op": self.action.removeprefix("regard:"),
            "client": {"ip": self.client_ip},
        }


class NothingThere(Exception):
    """What is asked for does not exist; the text says what."""


Work = Callable[[Asked], Any]
"""Answers with what JSON has, or with a response."""


def endpoint(
    door: Door, action: str, work: Work, *told: type[Exception]
) -> Callable[[HttpRequest], Awaitable[Response]]:
    """An address at which `work` is done for keys whose role allows the action.

    Exceptions of the types `told` have texts that are for the caller, about what he asked for.
    """

    async def answer(http: HttpRequest) -> Response:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in http.headers.raw]
        address = http.client.host if http.client else ""
        parameters = {**http.path_params, **http.query_params}
        try:
            with door.admission.room() as room:
                body = await door.admission.body(headers, http.receive, room, MAX_BODY_BYTES)
                request = Request(http.method, http.url.path, http.url.query, headers, body, address)
                return await run_sync(_answer, door, action, work, told, request, parameters)
        except InvalidParameterException as error:
            return _told(error.message, 413)
        except ThrottlingException as error:
            return _told(error.message, 503)
        except SlowClient:
            return _told("The request does not come to its end.", 408, {"connection": "close"})
        except ClientDisconnect:
            return Response(status_code=400)

    return answer


def _answer(
    door: Door,
    action: str,
    work: Work,
    told: tuple[type[Exception], ...],
    request: Request,
    parameters: Mapping[str, str],
) -> Response:
    """The answer to a request, which is on record then, whatever it is."""
    bind_contextvars(operation=action.removeprefix("regard:"))
    try:
        with door.refusals.counting(request) as found:
            principal = authenticate(door.services, request, found)
        bind_contextvars(access_key_id=principal.access_key_id)
        asked = Asked(door.services, principal, action, parameters, request.body, request.client_ip)
        answer, error = _worked(asked, work, told, request.header("user-agent"))
        asked.noted(error)
        return answer
    except ServiceError as error:
        return _told(error.message, 401)
    except Exception as error:
        return _told(logged(error).message, 500)


def _worked(
    asked: Asked, work: Work, told: tuple[type[Exception], ...], user_agent: str | None
) -> tuple[Response, str | None]:
    """The answer, and the code of the error if it is one."""
    try:
        _permit(asked, user_agent)
        answer = work(asked)
        return answer if isinstance(answer, Response) else JSONResponse(answer), None
    except AccessDeniedException as error:
        return _told(error.message, 403), error.code
    except NothingThere as error:
        return _told(str(error), 404), ResourceNotFoundException.__name__
    except ValidationError as error:
        text = "\n".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        return _told(text, 400), InvalidParameterException.__name__
    except InvalidParameterException as error:
        return _told(error.message, 400), error.code
    except told as error:
        return _told(str(error), 400), InvalidParameterException.__name__
    except Exception as error:
        refused = logged(error)
        return _told(refused.message, 500), refused.code


def _told(message: str, status_code: int, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"message": message}, status_code, headers)


def _permit(asked: Asked, user_agent: str | None) -> None:
    """AccessDeniedException if the key's role does not allow the action, or the key may not call at all."""
    principal, action, database = asked.principal, asked.action, asked.services.database
    if (found := objection(principal, asked.client_ip, action)) is not None:
        raise AccessDeniedException(f"{found[0].capitalize()} forbids {action}: {found[1]}.")
    document = shelf_of(database).at(database, principal.epoch).roles.get(principal.role)
    if document is None or not document.verdict(action, "*", of_caller(principal, asked.client_ip, user_agent)).allowed:
        raise AccessDeniedException(f"The role {principal.role} of {principal.access_key_id} does not allow {action}.")


class Trial(Case):
    """A case, and texts of policies that are tried in place of those of their names."""

    try_policies: tuple[str, ...] = ()


def routes(door: Door) -> list[Route]:
    """The addresses that have to do with policies."""
    return [Route("/-/policies/test", endpoint(door, "regard:TestPolicy", _test, PolicyError), methods=["POST"])]


def _test(asked: Asked) -> Any:
    trial = Trial.model_validate_json(asked.body)
    with asked.services.database.read() as connection:
        stored = policies.in_force(connection)
    book = book_of(0, stored, extra=[compiled(text) for text in trial.try_policies])
    return asdict(decide(asked.services, book, trial))
