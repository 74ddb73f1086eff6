"""`regard accounts`: whom access keys belong to."""

import json
from typing import Annotated

import typer
from rich.table import Table

from regard.cli.common import Json, console, noted, opened
from regard.use.keys import AccountError

app = typer.Typer(no_args_is_help=True, help="Accounts: each has collections, access keys and a standing of its own.")


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whose it is, an organisation or a department.")],
    contact: Annotated[str, typer.Option(help="Whom to write to when something is wrong.")] = "",
    purpose: Annotated[
        list[str] | None, typer.Option(help="A purpose that its keys may have; may be given again. [default: any]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make an account and print its 12 digits; `regard keys create --account …` makes keys for it."""
    from regard.store import policies
    from regard.use import keys
    from regard.use.book import book_of

    with opened() as database, database.begin() as connection:
        known = book_of(0, policies.in_force(connection)).purposes
        if unknown := set(purpose or ()) - known:
            raise AccountError(f"No policy is about {', '.join(sorted(unknown))}, only {', '.join(sorted(known))}.")
        account_id = keys.create_account(connection, name, contact, purpose or None)
        noted(connection, database, "account-created", account=account_id)
    typer.echo(json.dumps({"AccountId": account_id}) if as_json else account_id)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the accounts, their standing, and each change of it with its reason."""
    from regard.store import keys

    with opened() as database, database.read() as connection:
        accounts, changes = keys.every_account(connection), keys.history(connection)
        appeals = keys.every_appeal(connection)
    if as_json:
        fields = {
            "Accounts": [
                {
                    "AccountId": one.account_id,
                    "Name": one.name,
                    "Contact": one.contact,
                    "Status": one.status,
                    "Purposes": one.purposes,
                    "Created": one.created_at.isoformat(),
                }
                for one in accounts
            ],
            "History": [
                {"Subject": one.subject, "Status": one.status, "Reason": one.reason, "Since": one.since.isoformat()}
                for one in changes
            ],
            "Appeals": [
                {"Number": one.key, "Subject": one.subject, "Statement": one.statement, "Outcome": one.outcome}
                for one in appeals
            ],
        }
        typer.echo(json.dumps(fields))
        return
    table = Table("Account", "Name", "Contact", "Purposes", "Standing")
    for account in accounts:
        purposes = "any" if account.purposes is None else ", ".join(account.purposes)
        table.add_row(account.account_id, account.name, account.contact, purposes, account.status)
    console.print(table)
    for change in changes:
        console.print(f"{change.since:%Y-%m-%d %H:%M}  {change.subject} {change.status}: {change.reason}", markup=False)
    for appeal in appeals:
        console.print(
            f"appeal {appeal.key} of {appeal.subject}: {appeal.statement} – {appeal.outcome or 'open'}", markup=False
        )
