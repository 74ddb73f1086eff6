"""Denials: one sentence for all of them, and an id by which a denial is found again.

What is denied by a rule of use is AWS's `AccessDeniedException`, which no SDK sends again.
"""

import secrets
import time
from typing import TYPE_CHECKING

from regard.use import asked
from regard.wire.errors import AccessDeniedException

if TYPE_CHECKING:
    from regard.use.chain import Call

DECISION_HEADER = "x-regard-decision-id"
THRESHOLD_HEADER = "x-regard-effective-threshold"
ADVISED_HEADER = "x-regard-advised-threshold"
WITHHELD_HEADER = "x-regard-withheld"

SENTENCE = (
    "User: {user} is not authorized to perform: {action} on resource: {resource} because {cause} forbids it: {reason}. "
    "Decision: {decision}"
)
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid() -> str:
    """48 bits of milliseconds and 80 random ones, in Crockford's base 32: ids that sort by time."""
    number = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(80)
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def decision_id() -> str:
    """A new id of a decision."""
    return f"d-{ulid()}"


def use_policy(policy: str, rule: str) -> str:
    """The cause of a denial by a rule of a policy, `policy` with its version."""
    return f'use policy "{policy}" rule "{rule}"'


def role_statement(role: str, statement: str) -> str:
    """The cause of a denial by permissions: `role` with its version, and the statement if it was one."""
    return f'role "{role}"' + (f' statement "{statement}"' if statement else "")


def user_arn(call: "Call") -> str:
    principal = call.context.principal
    return f"arn:aws:iam::{principal.account_id}:user/{principal.access_key_id}"


def resource(call: "Call") -> str:
    """The ARN of the collection that the call is about, else `*`."""
    collection_id = asked.collection_id(call.request)
    return "*" if collection_id is None else call.context.arn(f"collection/{collection_id}")


def deny(call: "Call", cause: str, reason: str, **facts: object) -> AccessDeniedException:
    """The error that refuses a call, told in `call.headers` and `call.facts`, too; raise it.

    `cause` is what forbids, `reason` a clause without a full stop. `facts` add to the decision: `policy`, `rule`,
    `cites`.
    """
    call.decision_id = call.decision_id or decision_id()
    call.headers[DECISION_HEADER] = call.decision_id
    call.facts["resource"] = resource(call)
    call.facts["decision"] = {"id": call.decision_id, "effect": "deny", "reason": reason, **facts}
    return AccessDeniedException(
        SENTENCE.format(
            user=user_arn(call),
            action=f"rekognition:{call.operation}",
            resource=resource(call),
            cause=cause,
            reason=reason,
            decision=call.decision_id,
        )
    )
