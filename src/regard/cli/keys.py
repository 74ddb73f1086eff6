"""`regard keys`: access keys, which AWS clients sign with."""

import json
from typing import Annotated

import typer
from rich.table import Table

from regard.cli.common import Json, console, explained, open_database
from regard.settings import settings
from regard.store.database import Database

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
        f"export AWS_ENDPOINT_URL_REKOGNITION=http://{settings().host}:{settings().port}"
    )


@app.command("create")
def create(
    description: Annotated[str, typer.Option(help="What or who the key is for.")] = "", as_json: Json = False
) -> None:
    """Make an access key and print it; the secret is shown this once."""
    from regard.use import keys

    with explained():
        sealer, database = open_database()
        with database.begin() as connection:
            key = keys.create(connection, sealer, description)
        database.close()
    show_key(key.access_key_id, key.secret_access_key, key.account_id, as_json=as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the access keys, never their secrets."""
    from regard.store import keys

    with explained():
        database = Database.open(settings())
        with database.begin() as connection:
            rows = keys.every(connection)
        database.close()
    if as_json:
        fields = [
            {
                "AccessKeyId": row.access_key_id,
                "AccountId": row.account_id,
                "Description": row.description,
                "Created": row.created_at.isoformat(),
                "Revoked": row.revoked_at.isoformat() if row.revoked_at else None,
            }
            for row in rows
        ]
        typer.echo(json.dumps(fields))
        return
    table = Table("Access key", "Account", "Description", "Created", "State")
    for row in rows:
        state = f"revoked {row.revoked_at:%Y-%m-%d %H:%M}" if row.revoked_at else "valid"
        table.add_row(row.access_key_id, row.account_id, row.description, f"{row.created_at:%Y-%m-%d %H:%M}", state)
    console.print(table)


@app.command("revoke")
def revoke(access_key_id: Annotated[str, typer.Argument(help="The key to end, AKIA….")]) -> None:
    """End an access key at once and for good."""
    from regard.store import keys

    with explained():
        database = Database.open(settings())
        with database.begin() as connection:
            revoked = keys.revoke(connection, access_key_id)
        database.close()
    if not revoked:
        typer.echo(f"There is no valid key {access_key_id}.", err=True)
        raise typer.Exit(1)
    typer.echo(f"{access_key_id} is revoked.")
