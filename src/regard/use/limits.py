"""Budgets: how often a key may do something per hour or day. Attempts count, whether or not they succeed."""

from datetime import UTC, datetime

from regard.store import limits
from regard.use.chain import Call
from regard.use.decisions import deny, use_policy
from regard.use.guard import beginning, cited
from regard.use.policy import Budget


class Limits:
    """Counts the call against the budgets that hold for it."""

    def before(self, call: Call) -> None:
        if call.rules is None:
            return
        for held, rule in call.rules.of(Budget, call.operation):
            period = beginning(rule.per, datetime.now(UTC))
            with call.context.services.database.at_hand() as connection:
                number = limits.use(
                    connection, call.context.principal.access_key_id, f"{held.policy.name}/{rule.id}", period
                )
            if number > rule.max:
                reason = f"the access key has used its {rule.max} of this {rule.per}"
                raise deny(call, use_policy(held.name, rule.id), reason, **cited(held, rule))

    def after(self, call: Call) -> None:
        pass
