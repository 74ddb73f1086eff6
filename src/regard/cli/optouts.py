"""`regard opt-outs`: people who are not to be recognised."""

import json
from pathlib import Path
from typing import Annotated

import typer

from regard.cli.common import COMMAND, Json, end, noted, opened
from regard.settings import settings
from regard.store.database import Database

app = typer.Typer(no_args_is_help=True, help="People who are neither enrolled nor found, whoever asks.")
Reference = Annotated[
    str, typer.Argument(help="What you find the objection by: letters, digits and _.-:, no name.", metavar="REFERENCE")
]


@app.command("add")
def add(
    reference: Reference,
    pictures: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Pictures of the person alone.")],
) -> None:
    """Keep somebody's face for the one purpose of not recognising them; several pictures find them more surely."""
    from regard.use import optouts
    from regard.vision.engines import Engines

    with opened() as database:
        _note(database, "AddOptOut")
        try:
            unused = optouts.add(database, Engines(settings()).faces, reference, pictures)
        except optouts.OptOutError as error:
            end(str(error), error)
    for file, reason in unused:
        typer.echo(f"{file}: not used: {reason}", err=True)
    if len(unused) == len(pictures):
        raise typer.Exit(1)
    typer.echo(f"{reference} is neither enrolled nor found from now on.")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the references, and by how many faces each person is known."""
    from regard.use import optouts

    with opened() as database:
        found = optouts.references(database)
    if as_json:
        typer.echo(json.dumps([{"Reference": name, "Faces": count} for name, count in found.items()]))
        return
    for name, count in found.items():
        typer.echo(f"{name}  {count} {'face' if count == 1 else 'faces'}")


@app.command("remove")
def remove(reference: Reference) -> None:
    """Forget the faces under a reference, when an objection is withdrawn."""
    from regard.use import optouts

    with opened() as database:
        _note(database, "RemoveOptOut")
        count = optouts.remove(database, reference)
    if not count:
        typer.echo(f"Nobody opted out under {reference}.", err=True)
        raise typer.Exit(1)
    typer.echo(f"{reference} is forgotten.")


def _note(database: Database, operation: str) -> None:
    """On record before it is done."""
    with database.begin() as connection:
        noted(connection, database, COMMAND, op=operation)
