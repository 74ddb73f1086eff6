"""What every request passes between the wire and its operation, and every response on its way back.

    authenticate → standing → shape → [results] → permission → use policy → [consent] → limits → [review] → operation
                                                 ← use policy              ←          [review] ←

Each stage is one rule of use. A stage may refuse (`decisions.deny`), change the request (raise a threshold),
change the response (withhold matches), add headers, and say in `facts` what the audit record must tell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from regard.operations.context import Context, Handler, Response
from regard.use import asked
from regard.wire.parse import parse
from regard.wire.service import operation as operation_model
from regard.wire.validate import validate

if TYPE_CHECKING:  # which asks for the standing of a caller, and that is a stage
    from regard.use.book import Rules
    from regard.use.keys import Principal


@dataclass(frozen=True, slots=True)
class Begun:
    """The request that began a job, and whose it was."""

    principal: "Principal"
    request: Mapping[str, Any]


@dataclass(slots=True)
class Call:
    """One request on its way.

    `request` is empty until stage `Shape` has read `body`, then it is valid by AWS's model. `begun` is there where it
    asks for the results of a job. `rules` are those of the use policies that hold for the call, once stage `UsePolicy`
    has looked them up. `response` is there on the way back. `headers` go out with the response, be it an error.
    `pseudonyms` and `digests` are what its records call people and pictures: the outcome as the intent did, though an
    erasure may have destroyed the names meanwhile. `decision_id` is that of a denial.
    `facts`, for the audit record, may have:

    - purpose: str; resource: an ARN or "*"
    - policies: {name@version: digest} of those that hold
    - requested, effective: {"threshold": float, "max": int, "attributes": [str]}, what was asked for and is done
    - decision: {"id", "effect": "allow" | "deny", "policy", "rule", "cites", "reason"}
    - withheld: {rule id: number of faces or matches}
    - authorisation_id: str
    - result: {"count": int, "top_similarity": float, "face_ids": [str]}
    """

    request_id: str
    operation: str
    context: Context
    body: bytes = b""
    request: dict[str, Any] = field(default_factory=dict)
    begun: Begun | None = None
    client_ip: str = ""
    user_agent: str = ""
    rules: "Rules | None" = None
    response: Response | None = None
    headers: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    pseudonyms: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    decision_id: str = ""

    @property
    def collection_id(self) -> str | None:
        """The collection that the call is about; of a job's results the one that the job was about."""
        return asked.collection_id(self.request if self.begun is None else self.begun.request)


class Stage(Protocol):
    """A rule of use."""

    def before(self, call: Call) -> None:
        """May raise a ServiceError, or change the request."""

    def after(self, call: Call) -> None:
        """May change the response; not called when the operation failed."""


class Shape:
    """The body of the request, read and held against AWS's model of the operation."""

    def before(self, call: Call) -> None:
        operation = operation_model(call.operation)
        parameters = parse(operation, call.body)
        validate(operation, parameters)
        call.request = parameters

    def after(self, call: Call) -> None:
        pass


def run(call: Call, handler: Handler, stages: Sequence[Stage]) -> Response:
    """The response to a call that has passed every stage."""
    for stage in stages:
        stage.before(call)
    call.response = handler(call.context, call.request)
    for stage in reversed(stages):
        stage.after(call)
    return call.response
