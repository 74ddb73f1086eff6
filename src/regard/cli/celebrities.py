"""`regard celebrities`: the people whom RecognizeCelebrities may name."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from regard.cli.common import Json, console, end, explained, opened
from regard.settings import settings

app = typer.Typer(no_args_is_help=True, help="The people whom RecognizeCelebrities may name: your own list.")
CelebrityId = Annotated[str, typer.Argument(help="The id in the list that was imported.")]


@app.command("import")
def import_(
    folder: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="Pictures: FOLDER/ID/*.jpg or FOLDER/ID.jpg.")
    ],
    info: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="CSV: id,name,gender,urls. [default: people.csv in FOLDER]"),
    ] = None,
) -> None:
    """Let the people of a list be recognised. Who is known already is replaced; who has opted out is left out."""
    from rich.progress import Progress

    from regard import celebrities
    from regard.vision.engines import Engines

    with explained():
        try:
            people = celebrities.read_people(folder, info or folder / "people.csv")
        except celebrities.PeopleError as error:
            end(str(error), error)
        engine = Engines(settings()).faces
    with opened() as database, Progress(console=console, transient=True) as progress:
        listed = progress.track(people, description="importing")
        imported = [celebrities.import_person(database, engine, person) for person in listed]
    for result in imported:
        for file, reason in result.unused:
            console.print(f"{file}: not used: {reason}", style="yellow", markup=False, highlight=False)
    known = [result for result in imported if result.faces]
    typer.echo(f"{len(known)} of {len(people)} people can be recognised, by {sum(r.faces for r in known)} faces.")
    if len(known) < len(people):
        raise typer.Exit(1)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List who can be recognised, and who has opted out."""
    from regard.store import celebrities

    with opened() as database, database.read() as connection:
        known, opted_out = celebrities.every(connection), celebrities.opt_outs(connection)
    if as_json:
        fields = {
            "Celebrities": [
                {"Id": c.celebrity_id, "Name": c.name, "KnownGender": c.known_gender, "Urls": c.urls} for c in known
            ],
            "OptOuts": [
                {"Id": o.celebrity_id, "Name": o.name, "Reason": o.reason, "Since": o.created_at.isoformat()}
                for o in opted_out
            ],
        }
        typer.echo(json.dumps(fields))
        return
    table = Table("Id", "Name", "Known gender", "State")
    for celebrity in known:
        table.add_row(celebrity.celebrity_id, celebrity.name, celebrity.known_gender, "recognised")
    for note in opted_out:
        table.add_row(note.celebrity_id, note.name, "", f"opted out {note.created_at:%Y-%m-%d}: {note.reason}")
    console.print(table)


@app.command("remove")
def remove(celebrity_id: CelebrityId) -> None:
    """Forget a person, faces and all."""
    from regard import celebrities

    with opened() as database:
        removed = celebrities.remove(database, celebrity_id)
    if not removed:
        typer.echo(f"There is nobody of the id {celebrity_id}.", err=True)
        raise typer.Exit(1)
    typer.echo(f"{celebrity_id} is forgotten.")


@app.command("opt-out")
def opt_out(
    celebrity_id: CelebrityId,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "at their request",
    name: Annotated[
        str | None, typer.Option(help="Their name, which no import may bring back under another id.")
    ] = None,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Take the opt-out back; the next import counts.")
    ] = False,
) -> None:
    """Never recognise a person: forget them, and leave them out of every later import."""
    from regard import celebrities
    from regard.store.celebrities import withdraw_opt_out

    with opened() as database:
        if withdraw:
            with database.begin() as connection:
                done = withdraw_opt_out(connection, celebrity_id)
            answer = f"{celebrity_id} may be imported again." if done else f"{celebrity_id} had not opted out."
        else:
            forgotten = celebrities.opt_out(database, celebrity_id, name, reason)
            answer = f"{celebrity_id} is {'forgotten and ' if forgotten else ''}kept out of every import."
    typer.echo(answer)
