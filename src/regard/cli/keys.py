"""`regard keys`: access keys, which AWS clients sign with."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy.engine import Connection

from regard.cli.common import Json, console, noted, opened, unsealed
from regard.settings import settings
from regard.store.database import raw
from regard.store.keys import StoredKey
from regard.use.keys import AccountError

app = typer.Typer(no_args_is_help=True, help="Access keys, which AWS clients sign with.")


def show_key(access_key_id: str, secret_access_key: str, account_id: str, *, as_json: bool) -> None:
    if as_json:
        fields = {
            "AccessKeyId": access_key_id,
            "SecretAccessKey": secret_access_key,
            "AccountId": account_id,
            "Region": settings().region,
        }
        typer.echo(json.dumps(fields))
        return
    typer.echo(
        f"# An access key of account {account_id}. The secret is not shown again.\n"
        f"export AWS_ACCESS_KEY_ID={access_key_id}\n"
        f"export AWS_SECRET_ACCESS_KEY={secret_access_key}\n"
        f"export AWS_DEFAULT_REGION={settings().region}\n"
        f"export AWS_ENDPOINT_URL_REKOGNITION={settings().endpoint}"
    )


Purpose = Annotated[
    str | None,
    typer.Option(help="What the key may be used for; `regard policy list` shows the purposes. Without: locked-down."),
]


@app.command("create")
def create(
    description: Annotated[str, typer.Option(help="What or who the key is for.")] = "",
    purpose: Purpose = None,
    role: Annotated[
        str, typer.Option(help="Its permissions: application, reader, enroller, reviewer, officer, operator, or yours.")
    ] = "application",
    expires: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="When it ends, in UTC.")
    ] = None,
    account: Annotated[str | None, typer.Option(help="The account it belongs to. [default: the first]")] = None,
    network: Annotated[
        list[str] | None, typer.Option(help="An address or network that may use it, 10.0.0.0/8; may be given again.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make an access key for one purpose and print it; the secret is shown this once.

    A program that serves two purposes needs two keys: what a key may be used for is never changed.
    """
    from regard.use import keys

    with unsealed() as (sealer, database), database.begin() as connection:
        check(connection, purpose, role, network or [])
        key = keys.create(
            connection,
            sealer,
            description,
            account_id=account,
            purpose=purpose,
            role=role,
            expires_at=None if expires is None else expires.replace(tzinfo=UTC),
            networks=network or None,
        )
        made = {"role": role, "purpose": purpose}
        noted(connection, database, "key-created", resource=key.access_key_id, account=key.account_id, details=made)
    warn_of_no_purpose(key.access_key_id, purpose)
    show_key(key.access_key_id, key.secret_access_key, key.account_id, as_json=as_json)


def check(connection: Connection, purpose: str | None, role: str, networks: Sequence[str] = ()) -> None:
    """Raises `AccountError` for what would make a key that can do nothing."""
    from regard.store import policies
    from regard.use.book import LOCKED_DOWN, book_of

    book = book_of(0, policies.in_force(connection))
    if purpose is not None and purpose not in book.purposes:
        raise AccountError(f"No policy is about the purpose {purpose}, only {', '.join(sorted(book.purposes))}.")
    if purpose == LOCKED_DOWN:
        raise AccountError("locked-down is what holds without a purpose.")
    if role not in book.roles:
        raise AccountError(f"There is no role {role}, only {', '.join(sorted(book.roles))}.")
    for network in networks:
        try:
            ip_network(network, strict=False)
        except ValueError as error:
            raise AccountError(f"{error}: an address or a network, such as 10.0.0.0/8.") from error


def warn_of_no_purpose(access_key_id: str, purpose: str | None) -> None:
    if purpose is None:
        typer.echo(
            "No purpose is declared: this key may describe pictures, and identify nobody. To declare one, once:\n"
            f"  regard keys purpose {access_key_id} photo-search     (`regard policy list` shows the others)",
            err=True,
        )


@app.command("purpose")
def declare(
    access_key_id: Annotated[str, typer.Argument(help="The key, AKIA….")],
    purpose: Annotated[str, typer.Argument(help="What it is for; `regard policy list` shows the purposes.")],
) -> None:
    """Declare the purpose of a key that has none, as those that were made by an earlier version; it stays."""
    from regard.store import keys

    with opened() as database, database.begin() as connection:
        check(connection, purpose, "application")
        key = keys.find(raw(connection), access_key_id)
        allowed = key is not None and (key.account_purposes is None or purpose in key.account_purposes)
        declared = allowed and keys.declare_purpose(connection, access_key_id, purpose)
        if declared:
            noted(connection, database, "purpose-declared", resource=access_key_id, purpose=purpose)
    if not declared:
        typer.echo(f"{access_key_id} is no key without a purpose whose account may use {purpose}.", err=True)
        raise typer.Exit(1)
    typer.echo(f"{access_key_id} is for {purpose}.")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the access keys, never their secrets."""
    from regard.store import keys

    with opened() as database, database.begin() as connection:
        rows = keys.every(connection)
    if as_json:
        fields = [
            {
                "AccessKeyId": row.access_key_id,
                "AccountId": row.account_id,
                "Description": row.description,
                "Purpose": row.purpose,
                "Role": row.role,
                "Status": row.status,
                "Expires": row.expires_at.isoformat() if row.expires_at else None,
                "Networks": row.networks,
                "Created": row.created_at.isoformat(),
                "Revoked": row.revoked_at.isoformat() if row.revoked_at else None,
            }
            for row in rows
        ]
        typer.echo(json.dumps(fields))
        return
    table = Table("Access key", "Account", "Purpose", "Role", "Description", "State")
    for row in rows:
        purpose = row.purpose or "none: locked-down"
        table.add_row(row.access_key_id, row.account_id, purpose, row.role, row.description, _state(row))
    console.print(table)


def _state(key: StoredKey) -> str:
    if key.revoked_at:
        return f"revoked {key.revoked_at:%Y-%m-%d %H:%M}"
    if key.expires_at and key.expires_at <= datetime.now(UTC):
        return f"expired {key.expires_at:%Y-%m-%d %H:%M}"
    return "valid" if key.status == "active" else key.status


@app.command("revoke")
def revoke(access_key_id: Annotated[str, typer.Argument(help="The key to end, AKIA….")]) -> None:
    """End an access key at once and for good."""
    from regard.store import keys

    with opened() as database, database.begin() as connection:
        revoked = keys.revoke(connection, access_key_id)
        if revoked:
            noted(connection, database, "key-revoked", resource=access_key_id)
    if not revoked:
        typer.echo(f"There is no valid key {access_key_id}.", err=True)
        raise typer.Exit(1)
    typer.echo(f"{access_key_id} is revoked.")
