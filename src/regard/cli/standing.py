"""`regard suspend`, `reinstate` and `appeal`: the standing of accounts and access keys."""

from enum import StrEnum
from typing import Annotated

import typer

from regard.cli.common import noted, opened
from regard.store.keys import Status

Subject = Annotated[str, typer.Argument(help="An account's 12 digits or an access key, AKIA….")]
Reason = Annotated[str, typer.Option(help="Why; it is kept with the history.")]


class Suspended(StrEnum):
    """How far: see `regard suspend --help`."""

    restricted = "restricted"
    suspended = "suspended"
    banned = "banned"


def suspend(
    subject: Subject,
    reason: Reason,
    to: Annotated[Suspended, typer.Option("--to", help="restricted, suspended or banned.")] = Suspended.suspended,
) -> None:
    """Suspend an account or an access key, from its next request on.

    * **restricted**: identifies nobody, as without a purpose (`locked-down`)
    * **suspended**: only List, Describe and Delete operations, so that data can still be erased
    * **banned**: nothing
    """
    _set(subject, to.value, reason)


def reinstate(subject: Subject, reason: Reason) -> None:
    """Let a suspended account or access key work again; the history stays."""
    _set(subject, "active", reason)


def _set(subject: str, status: Status, reason: str) -> None:
    from regard.store import keys

    with opened() as database, database.begin() as connection:
        changed = keys.set_status(connection, subject, status, reason)
        if changed:
            said = {"status": status, "reason": reason}
            noted(connection, database, "standing", resource=subject, details=said)
    if not changed:
        typer.echo(f"There is no account or access key {subject}.", err=True)
        raise typer.Exit(1)
    typer.echo(f"{subject} is {status}.")


def appeal(
    subject: Annotated[str, typer.Argument(help="An account or an access key; with --decide the appeal's number.")],
    statement: Annotated[str, typer.Argument(help="What is said against the suspension; with --decide the outcome.")],
    decide: Annotated[bool, typer.Option("--decide", help="Record what came of an appeal.")] = False,
) -> None:
    """Record an appeal against a suspension, or what came of it. It changes no standing: `regard reinstate` does."""
    from regard.store import keys

    with opened() as database, database.begin() as connection:
        if decide:
            done = subject.isdecimal() and keys.decide_appeal(connection, int(subject), statement)
            answer = f"Appeal {subject} is decided."
        else:
            done = bool(keys.history(connection, subject))
            answer = f"Recorded as appeal {keys.appeal(connection, subject, statement)}." if done else ""
        if done:
            noted(connection, database, "appeal-decided" if decide else "appeal", resource=subject)
    if not done:
        typer.echo(f"{subject} is {'no open appeal' if decide else 'nothing that was ever suspended'}.", err=True)
        raise typer.Exit(1)
    typer.echo(answer)
