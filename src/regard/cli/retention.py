"""`regard retention`: how long people are kept, legal holds, receipts, and the scrub of the disk."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from regard.cli.common import (
    COMMAND,
    AccountId,
    Json,
    account_of,
    console,
    explained,
    noted,
    open_log,
    opened,
    out_option,
    unsealed,
)
from regard.settings import settings

app = typer.Typer(no_args_is_help=True, help="How long people are kept: sweep, legal holds, receipts, scrub.")


@app.command("run")
def run(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say who would go, and delete nobody.")] = False,
    out: Annotated[Path | None, out_option("Write the signed receipts to this file.")] = None,
) -> None:
    """Delete the faces of everyone whose time is up; a server does so every hour by itself."""
    from regard.use import retention

    chosen = settings()
    with open_log() as log:
        found, receipts = retention.sweep(
            log, chosen.region, chosen.retention_cap_days, datetime.now(UTC), dry_run=dry_run
        )
    table = Table("Collection", "Faces", "Reason")
    for due in found:
        for reason, keys in due.faces.items():
            table.add_row(due.collection_id, str(len(keys)), reason)
        if due.held:
            table.add_row(due.collection_id, str(due.held), "kept by a legal hold")
    console.print(table)
    if out is not None and receipts:
        out.write_text(json.dumps([receipt.to_json(log.sealer) for receipt in receipts], indent=2))
    if dry_run:
        typer.echo("Nothing was deleted.")
    else:
        typer.echo(f"{sum(receipt.document['Faces'] for receipt in receipts)} faces are deleted.")


@app.command("scrub")
def scrub() -> None:
    """Make what was deleted leave the database's files; a server does so every night by itself.

    Each table that holds something about people is locked while it is written anew.
    """
    from regard.store.scrub import scrub

    with opened() as database:
        done = scrub(database, everything=True)
    table = Table("Table", "Locked for")
    for name, seconds in done.tables.items():
        table.add_row(name, f"{seconds:.1f} s")
    console.print(table)
    for file in done.removed_files:
        typer.echo(f"removed a file that a crash left behind: {file}")
    for left in done.left:
        typer.echo(f"not done: {left}", err=True)
    if done.left:
        raise typer.Exit(1)


@app.command("hold")
def hold(
    reason: Annotated[str, typer.Option(help="Which order or dispute, for the record.")],
    collection: Annotated[str | None, typer.Option(help="Keep all faces of this collection.")] = None,
    subject: Annotated[str | None, typer.Option(help="Keep the faces of this person.")] = None,
    account: AccountId = None,
) -> None:
    """Place a legal hold: what it is about is neither swept nor erased, and no client can delete it."""
    from regard.store import consents

    if (collection is None) == (subject is None):
        raise typer.BadParameter("name a collection or a subject")
    with opened() as database:
        account_id = account_of(database, account)
        with database.begin() as connection:
            number = consents.hold(connection, account_id, reason, collection_id=collection, subject=subject)
            noted(connection, database, COMMAND, account=account_id, op="PlaceLegalHold", details={"hold": number})
    typer.echo(f"Legal hold {number} is in force.")


@app.command("release")
def release(
    number: Annotated[int, typer.Argument(help="As `regard retention holds` lists it.")], account: AccountId = None
) -> None:
    """End a legal hold."""
    from regard.store import consents

    with opened() as database:
        account_id = account_of(database, account)
        with database.begin() as connection:
            released = consents.release(connection, account_id, number)
            noted(connection, database, COMMAND, account=account_id, op="ReleaseLegalHold", details={"hold": number})
    if not released:
        typer.echo(f"There is no legal hold {number} in force.", err=True)
        raise typer.Exit(1)
    typer.echo(f"Legal hold {number} is released.")


@app.command("holds")
def holds(account: AccountId = None, as_json: Json = False) -> None:
    """List the legal holds in force."""
    from regard.store import consents

    with opened() as database, database.read() as connection:
        rows = consents.holds(connection, account_of(database, account))
    if as_json:
        fields = [
            {
                "Number": row.key,
                "CollectionId": row.collection_id,
                "Subject": row.subject,
                "Reason": row.reason,
                "Since": row.placed_at.isoformat(),
            }
            for row in rows
        ]
        typer.echo(json.dumps(fields))
        return
    table = Table("Number", "Collection", "Subject", "Since", "Reason")
    for row in rows:
        table.add_row(str(row.key), row.collection_id or "", row.subject or "", f"{row.placed_at:%Y-%m-%d}", row.reason)
    console.print(table)


@app.command("receipts")
def receipts(
    limit: Annotated[int, typer.Option(help="The last so many.", min=1)] = 20, account: AccountId = None
) -> None:
    """Print the receipts of the last deletions, newest first, as a file that `verify-receipt` takes."""
    from regard.store import deletions
    from regard.use.receipts import Receipt

    with unsealed() as (sealer, database), database.read() as connection:
        rows = deletions.page(connection, account_of(database, account), limit)
    signed = [Receipt(json.loads(row.document), row.signature) for row in rows]
    typer.echo(json.dumps([receipt.to_json(sealer) for receipt in signed], indent=2))


@app.command("verify-receipt")
def verify_receipt(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The file that was handed out.")],
    public_key: Annotated[
        str | None, typer.Option(help="Base64, from the operator. [default: this deployment's own]")
    ] = None,
) -> None:
    """Check that receipts are genuine and unchanged."""
    import base64

    from regard.use import receipts
    from regard.use.seal import load_sealer

    with explained():
        try:
            key = receipts.public_key(load_sealer(settings())) if public_key is None else base64.b64decode(public_key)
        except ValueError as error:
            raise receipts.ReceiptError("the public key is not base64") from error
        documents = receipts.verify(file.read_bytes(), key)
    for document in documents:
        typer.echo(f"genuine: {receipts.summary(document)}")


@app.command("public-key")
def public_key() -> None:
    """Print the key that receipts are checked with, for whoever has no master key."""
    import base64

    from regard.use import receipts
    from regard.use.seal import load_sealer

    with explained():
        typer.echo(base64.b64encode(receipts.public_key(load_sealer(settings()))).decode())


@app.command("schedule")
def schedule(account: AccountId = None) -> None:
    """Print the retention schedule to publish (BIPA §15(a)), made from the collections' tags, as Markdown."""
    from regard.store import collections, tags
    from regard.use import retention

    chosen = settings()
    with opened() as database:
        account_id = account_of(database, account)
        with database.read() as connection:
            listed = [
                (row.collection_id, tags.get(connection, retention.arn(chosen.region, account_id, row.collection_id)))
                for row in collections.every(connection, account_id)
            ]
    typer.echo(retention.schedule(listed, chosen.retention_cap_days), nl=False)
