"""`regard subject`: what is held about a person, handed out or erased."""

import getpass
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
)
from regard.settings import settings

app = typer.Typer(no_args_is_help=True, help="A person's rights: find, hand out, erase what is held about them.")
Ref = Annotated[str, typer.Argument(help="Subject, ExternalImageId, UserId or FaceId.")]


@app.command("find")
def find(
    ref: Annotated[str | None, typer.Argument(help="Subject, ExternalImageId, UserId or FaceId.")] = None,
    photo: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A photo of the person, for one without a name.")
    ] = None,
    account: AccountId = None,
    as_json: Json = False,
) -> None:
    """Show what is held about a person, in all collections.

    With a photo: whose faces resemble it. Look at them yourself before you act: a resemblance is no identity.
    """
    if (ref is None) == (photo is None):
        raise typer.BadParameter("name the person or give a photo")
    if photo is not None:
        _find_by_photo(photo, account, as_json=as_json)
        return
    from regard.use import subjects

    with opened() as database:
        account_id = account_of(database, account)
        with database.begin() as connection:
            holding = subjects.find(connection, account_id, str(ref))
            noted(connection, database, COMMAND, account=account_id, op="FindSubject")
    if as_json:
        typer.echo(json.dumps(subjects.export(holding, account_id, datetime.now(UTC))))
    else:
        table = Table("Collection", "FaceId", "ExternalImageId", "UserId", "Enrolled", "Last met")
        for held in holding.faces:
            table.add_row(
                held.collection_id,
                str(held.face.face_id),
                held.face.external_image_id or "",
                held.face.user_id or "",
                f"{held.created_at:%Y-%m-%d}",
                f"{held.last_interaction}",
            )
        console.print(table)
        typer.echo(f"{holding.ref}: {holding.counts}.")
    if not holding:
        raise typer.Exit(1)


def _find_by_photo(photo: Path, account: str | None, *, as_json: bool) -> None:
    from regard.gallery.gallery import Gallery
    from regard.use import subjects
    from regard.vision.engines import Engines

    with explained():
        engine = Engines(settings()).faces
    with open_log() as log:
        account_id = account_of(log.database, account)
        found = subjects.find_by_photo(log, engine, Gallery(log.database), account_id, photo, getpass.getuser())
    if as_json:
        fields = [
            {
                "Similarity": one.similarity,
                "CollectionId": one.held.collection_id,
                "FaceId": str(one.held.face.face_id),
                "ExternalImageId": one.held.face.external_image_id,
                "UserId": one.held.face.user_id,
            }
            for one in found
        ]
        typer.echo(json.dumps(fields))
        return
    table = Table("Similarity", "Collection", "FaceId", "ExternalImageId", "UserId")
    for one in found:
        face = one.held.face
        table.add_row(
            f"{one.similarity:.2f}",
            one.held.collection_id,
            str(face.face_id),
            face.external_image_id or "",
            face.user_id or "",
        )
    console.print(table)


@app.command("export")
def export(
    ref: Ref,
    out: Annotated[Path, typer.Option("-o", "--out", file_okay=False, help="Folder for subject.json.")],
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="Include the vectors, which are biometric data.")
    ] = False,
    account: AccountId = None,
) -> None:
    """Write everything that is held about a person, as JSON (GDPR Articles 15 and 20)."""
    from regard.use import subjects

    with opened() as database:
        account_id = account_of(database, account)
        with database.begin() as connection:
            holding = subjects.find(connection, account_id, ref)
            noted(
                connection,
                database,
                COMMAND,
                account=account_id,
                op="ExportSubject",
                details={"embeddings": embeddings},
            )
        if not holding:
            raise subjects.SubjectError(f"nothing is held about {ref}")
        out.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = out / "subject.json"
        file.touch(mode=0o600)
        file.write_text(
            json.dumps(subjects.export(holding, account_id, datetime.now(UTC), embeddings=embeddings), indent=2)
        )
    typer.echo(f"{file}: {holding.counts}.")


@app.command("erase")
def erase(
    ref: Ref,
    reason: Annotated[str, typer.Option(help="Why, for the receipt. Name nobody here.")],
    out: Annotated[Path, out_option("The receipt to write.")] = Path("receipt.json"),
    celebrity: Annotated[str | None, typer.Option(help="Forget the celebrity of this id, too.")] = None,
    later: Annotated[
        bool, typer.Option("--later", help="Leave the scrub of the disk to the night; it locks tables.")
    ] = False,
    account: AccountId = None,
) -> None:
    """Erase a person from everything, scrub the disk, search it for their bytes, and write a signed receipt.

    If it is interrupted, run it again.
    """
    from regard.store.scrub import scrub
    from regard.use import subjects

    with open_log() as log:
        sealer, database = log.sealer, log.database
        erasure = subjects.erase(
            log,
            account_of(database, account),
            ref,
            reason,
            datetime.now(UTC),
            principal=getpass.getuser(),
            celebrity_id=celebrity,
        )
        signed = [] if erasure is None else [erasure.receipt]
        _write(out, [receipt.to_json(sealer) for receipt in signed])
        if not later:
            scrubbed = scrub(database, everything=True)
            if erasure is not None:
                folder = database.folder and settings().home
                signed.append(subjects.certify(sealer, erasure, scrubbed, folder, datetime.now(UTC)))
                _write(out, [receipt.to_json(sealer) for receipt in signed])
    if erasure is None:
        typer.echo(f"Nothing is held about {ref}." + ("" if later else " The disk is scrubbed."), err=True)
        raise typer.Exit(1)
    typer.echo(f"Erased: {erasure.holding.counts}. The receipt is {out}.")
    if traces := signed[-1].document.get("FilesWithTraces"):
        typer.echo(f"error: bytes of them are still in {', '.join(traces)}", err=True)
        raise typer.Exit(1)


def _write(out: Path, signed: list[dict[str, object]]) -> None:
    if signed:
        out.write_text(json.dumps(signed, indent=2))
