"""Denials by rules of use are kept, and a policy may suspend a key that gathers too many of them."""

from datetime import UTC, datetime, timedelta

from regard.store import keys
from regard.store.keys import Violation
from regard.use.chain import Call
from regard.use.policy import Suspension
from regard.wire.errors import ServiceError


def note(call: Call, error: ServiceError) -> None:
    """Keep a denial, and suspend the key if a rule says so. What was no denial by a rule is not kept."""
    decision = call.facts.get("decision", {})
    if decision.get("effect") != "deny" or "rule" not in decision:
        return
    principal, database = call.context.principal, call.context.services.database
    key_id = principal.access_key_id
    with database.begin() as connection:
        keys.violated(
            connection,
            Violation(
                call.decision_id, principal.account_id, key_id, decision["policy"], decision["rule"], error.message
            ),
        )
        for held, rule in call.rules.of(Suspension) if call.rules is not None else ():
            since = datetime.now(UTC) - timedelta(hours=rule.within_hours)
            if principal.status == "active" and keys.violations_since(connection, key_id, since) >= rule.violations:
                reason = f"{rule.violations} violations within {rule.within_hours} hours, by {held.name}/{rule.id}"
                keys.set_status(connection, key_id, "suspended", reason)
