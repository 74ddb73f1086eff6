"""`regard authorisations`: searches that two people have approved."""

import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from regard.cli.common import Json, console, noted, opened
from regard.store import authorisations
from regard.store.authorisations import APPROVERS_NEEDED, EVERYTHING, Authorisation
from regard.use.keys import AccountError

app = typer.Typer(
    no_args_is_help=True,
    help="Authorisations of searches, for purposes whose policy asks for them; two people approve.",
)
Id = Annotated[str, typer.Argument(help="The authorisation's id.")]


@app.command("request")
def request(
    account: Annotated[str, typer.Option(help="The account whose keys are to search.")],
    authority: Annotated[str, typer.Option(help="The court or office that orders it.")],
    case: Annotated[str, typer.Option(help="The case, as it is named there.")],
    by: Annotated[str, typer.Option(help="Who asks; may not approve.")],
    expires: Annotated[datetime, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="When it ends, in UTC.")],
    collection: Annotated[
        list[str] | None, typer.Option(help="A collection that may be searched; may be given again. [default: all]")
    ] = None,
    operation: Annotated[
        list[str] | None, typer.Option(help="An operation, SearchFacesByImage; may be given again. [default: all]")
    ] = None,
) -> None:
    """Ask for an authorisation and print its id. Where the policy grants hours of grace, they begin now."""
    from regard.store import keys
    from regard.use.decisions import ulid
    from regard.wire.service import operation_names

    with opened() as database:
        if unknown := set(operation or ()) - set(operation_names()):
            raise AccountError(f"There is no operation {', '.join(sorted(unknown))}.")
        authorisation_id = f"a-{ulid()}"
        with database.begin() as connection:
            if keys.account(connection, account) is None:
                raise AccountError(f"There is no account {account}.")
            authorisations.request(
                connection,
                authorisation_id,
                account,
                authority,
                case,
                by,
                expires.replace(tzinfo=UTC),
                collection or [EVERYTHING],
                operation or [EVERYTHING],
            )
            asked = {"authority": authority, "case": case, "by": by}
            noted(
                connection,
                database,
                "authorisation-requested",
                account=account,
                authorisation=authorisation_id,
                details=asked,
            )
    typer.echo(authorisation_id)


@app.command("approve")
def approve(
    authorisation_id: Id, by: Annotated[str, typer.Option(help="Who approves: neither who asked nor who did already.")]
) -> None:
    """Approve an authorisation; it holds once two people have."""
    with opened() as database, database.begin() as connection:
        done = authorisations.approve(connection, authorisation_id, by)
        if done:
            noted(
                connection,
                database,
                "authorisation-approved",
                authorisation=authorisation_id,
                details={"by": by},
            )
    _said(done, f"{by} cannot approve {authorisation_id}: asked for it, approved it already, or there is none.")
    typer.echo(f"{by} approves {authorisation_id}.")


@app.command("revoke")
def revoke(authorisation_id: Id) -> None:
    """End an authorisation at once."""
    with opened() as database, database.begin() as connection:
        done = authorisations.revoke(connection, authorisation_id)
        if done:
            noted(connection, database, "authorisation-revoked", authorisation=authorisation_id)
    _said(done, f"There is no authorisation {authorisation_id} that was not revoked.")
    typer.echo(f"{authorisation_id} is revoked.")


def _said(done: bool, otherwise: str) -> None:
    if not done:
        typer.echo(otherwise, err=True)
        raise typer.Exit(1)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the authorisations, who asked for them, who approved, and whether they hold."""
    with opened() as database, database.read() as connection:
        rows = authorisations.every(connection)
    if as_json:
        fields = [
            {
                "Id": one.authorisation_id,
                "AccountId": one.account_id,
                "Authority": one.authority,
                "Case": one.case_reference,
                "Collections": one.collections,
                "Operations": one.operations,
                "RequestedBy": one.requested_by,
                "Approvers": one.approvers,
                "Expires": one.expires_at.isoformat(),
                "State": _state(one),
            }
            for one in rows
        ]
        typer.echo(json.dumps(fields))
        return
    table = Table("Id", "Account", "Authority", "Case", "Collections", "Approved by", "State")
    for one in rows:
        table.add_row(
            one.authorisation_id,
            one.account_id,
            one.authority,
            one.case_reference,
            ", ".join(one.collections),
            ", ".join(one.approvers),
            _state(one),
        )
    console.print(table)


def _state(one: Authorisation) -> str:
    if one.revoked_at is not None:
        return "revoked"
    if one.expires_at <= datetime.now(UTC):
        return "expired"
    return "holds" if len(one.approvers) >= APPROVERS_NEEDED else "waits for approval"
