"""`regard consent`: what people agreed to, which enrolment in collections with `use:basis=consent` needs."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from regard.cli.common import COMMAND, AccountId, Json, account_of, console, noted, open_log, opened
from regard.settings import settings
from regard.store.consents import Consent

app = typer.Typer(no_args_is_help=True, help="What people agreed to: consents, with proof, term and withdrawal.")
ConsentId = Annotated[str, typer.Argument(help="The id that `regard consent add` printed.")]


@app.command("add")
def add(
    subject: Annotated[str, typer.Argument(help="The person: letters, digits, '_', '.' and '-'.")],
    purpose: Annotated[list[str], typer.Option(help="What for; may be given again.")],
    notice: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="What the person was told, a text.")],
    release: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="What the person signed; its SHA-256 is kept.")
    ],
    term: Annotated[str, typer.Option(help="For how long, in the words of the notice.")],
    days: Annotated[int, typer.Option(help="After so many days it ends by itself.", min=1, max=36_500)],
    consent_id: Annotated[str | None, typer.Option("--id", help="Your own number for it. [default: random]")] = None,
    account: AccountId = None,
    as_json: Json = False,
) -> None:
    """Note that a person agreed, in writing, and print the ExternalImageId to enrol them with."""
    from regard.store import consents
    from regard.use.consent import ConsentError, grant

    with opened() as database:
        account_id, now = account_of(database, account), datetime.now(UTC)
        granted = grant(
            subject,
            purpose,
            notice.read_text(),
            term,
            release.read_bytes(),
            now + timedelta(days=days),
            consent_id=consent_id,
            now=now,
        )
        with database.begin() as connection:
            if not consents.add(connection, account_id, granted):
                raise ConsentError(f"there is a consent {granted.consent_id} already")
            details = {"consent": granted.consent_id}
            noted(connection, database, COMMAND, account=account_id, op="AddConsent", details=details)
    external = f"{subject}:{granted.consent_id}"
    if as_json:
        typer.echo(json.dumps({"ConsentId": granted.consent_id, "ExternalImageId": external}))
    else:
        typer.echo(f"Consent {granted.consent_id} is noted. Enrol with ExternalImageId {external}")


@app.command("withdraw")
def withdraw(
    consent_id: ConsentId,
    erase: Annotated[bool, typer.Option("--erase", help="Delete their faces now, not with the next sweep.")] = False,
    account: AccountId = None,
) -> None:
    """End a consent: from now on the person is not found, and the next sweep deletes their faces."""
    from regard.store import consents
    from regard.use import retention

    with open_log() as log:
        database = log.database
        account_id, now = account_of(database, account), datetime.now(UTC)
        with database.begin() as connection:
            withdrawn = consents.withdraw(connection, account_id, consent_id, now)
            details = {"consent": consent_id}
            noted(connection, database, COMMAND, account=account_id, op="WithdrawConsent", details=details)
        if erase:
            chosen = settings()
            _, receipts = retention.sweep(log, chosen.region, chosen.retention_cap_days, now)
            typer.echo(f"{sum(receipt.document['Faces'] for receipt in receipts)} faces are deleted.")
    if not withdrawn:
        typer.echo(f"There is no consent {consent_id} that has not been withdrawn.", err=True)
        raise typer.Exit(1)
    typer.echo(f"Consent {consent_id} is withdrawn.")


@app.command("list")
def list_(
    subject: Annotated[str | None, typer.Option(help="Of this person only.")] = None,
    account: AccountId = None,
    as_json: Json = False,
) -> None:
    """List consents and their state."""
    from regard.store import consents
    from regard.use.subjects import consent_json

    with opened() as database, database.read() as connection:
        account_id = account_of(database, account)
        rows = (
            consents.every(connection, account_id)
            if subject is None
            else consents.of_subjects(connection, account_id, [subject])
        )
    if as_json:
        typer.echo(json.dumps([consent_json(row) for row in rows]))
        return
    table = Table("Consent", "Subject", "Purposes", "Until", "State")
    for row in rows:
        table.add_row(
            row.consent_id,
            row.subject or "(erased)",
            ", ".join(row.purposes),
            f"{row.expires_at:%Y-%m-%d}",
            _state(row),
        )
    console.print(table)


def _state(consent: Consent) -> str:
    if consent.erased_at is not None:
        return f"erased {consent.erased_at:%Y-%m-%d}"
    if consent.withdrawn_at is not None:
        return f"withdrawn {consent.withdrawn_at:%Y-%m-%d}"
    return "in force" if consent.holds(None, datetime.now(UTC)) else "expired"


@app.command("show")
def show(consent_id: ConsentId, account: AccountId = None) -> None:
    """Print a consent in full, as JSON."""
    from regard.store import consents
    from regard.use.subjects import consent_json

    with opened() as database, database.read() as connection:
        found = consents.find(connection, account_of(database, account), consent_id)
    if found is None:
        typer.echo(f"There is no consent {consent_id}.", err=True)
        raise typer.Exit(1)
    typer.echo(json.dumps(consent_json(found), indent=2))
