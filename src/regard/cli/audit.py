"""`regard audit`: read the audit log, check it, and prove to others what is in it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from regard.cli.common import Json, console, end, explained, open_log, out_option
from regard.settings import settings
from regard.store.database import raw

if TYPE_CHECKING:
    from regard.store.audit import Connection
    from regard.use.audit import AuditLog
    from regard.use.audit.reading import Wanted

app = typer.Typer(no_args_is_help=True, help="The audit log: read it, check it, prove what is in it.")

Since = Annotated[datetime | None, typer.Option(help="Not before this time (UTC).")]
Until = Annotated[datetime | None, typer.Option(help="Before this time (UTC).")]
Out = Annotated[Path | None, out_option("File to write; else standard output.")]
Said = Annotated[
    list[str] | None, typer.Option("--where", help="MEMBER=VALUE, such as op=DetectFaces or decision.effect=deny.")
]


@contextmanager
def _reading(log: "AuditLog") -> "Iterator[Connection]":
    with log.database.snapshot() as connection:
        yield raw(connection)


@app.command()
def show(
    since: Since = None,
    until: Until = None,
    where: Said = None,
    picture: Annotated[
        Path | None, typer.Option("--input", exists=True, dir_okay=False, help="Requests with this very file.")
    ] = None,
    subject: Annotated[
        str | None, typer.Option(help="ACCOUNT/external:ID, ACCOUNT/user:ID or ACCOUNT/face:ID of a person.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    as_json: Json = False,
) -> None:
    """Show records, newest first."""
    from regard.use.audit import reading

    with open_log() as log, _reading(log) as connection:
        wanted = _wanted(log, connection, since, until, where, picture, subject)
        records = [] if wanted is None else reading.newest(connection, wanted, limit)
    for record in records:
        typer.echo(json.dumps(record, ensure_ascii=False, sort_keys=True) if as_json else _line(record))


@app.command()
def export(
    out: Out = None,
    since: Since = None,
    until: Until = None,
    where: Said = None,
) -> None:
    """Write records as JSON Lines: each line is what was hashed, byte for byte."""
    import sys

    from regard.use.audit import reading

    with open_log() as log, _reading(log) as connection:
        wanted = reading.Wanted(_utc(since), _utc(until), _said(where))
        lines = (content + b"\n" for content in reading.select(connection, wanted))
        if out is None:
            sys.stdout.buffer.writelines(lines)
            return
        with out.open("wb") as file:
            file.writelines(lines)


@app.command()
def verify(
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="A file of pinned checkpoints; may be given again."),
    ] = None,
) -> None:
    """Check every record, link and checkpoint; name what was changed.

    What was cut off at the end together with its checkpoints is found only against a checkpoint that was held
    elsewhere: give it with --checkpoint.
    """
    from regard.use.audit import checkpoints, spans
    from regard.use.audit.verify import verify as verified

    with open_log() as log:
        pins = [note for path in checkpoint or () for note in checkpoints.notes(path.read_text("utf-8"))]
        closed = log.close_orphans()
        with _reading(log) as connection, _bar() as bar:
            task = bar.add_task("records", total=None)
            share = partial(spans.shared, log.database.conninfo, log.seal_key, processes=settings().threads)
            verdict = verified(
                connection,
                log.seal_key,
                checkpoints.Signer(log.sealer).verifier,
                pins,
                lambda done, total: bar.update(task, completed=done, total=total),
                share,
            )
    for seq in closed:
        typer.echo(f"record {seq} announced a change by a server that was killed: noted as interrupted")
    for finding in verdict.findings:
        typer.echo(str(finding))
    if not verdict.good:
        typer.echo(f"The log is NOT as it was written: {len(verdict.findings)} findings.")
        raise typer.Exit(1)
    typer.echo(
        f"{verdict.records} records are as they were written. {verdict.checkpoints} checkpoints of its own stand for "
        f"the first {verdict.covered}."
    )
    if verdict.unfinished:
        typer.echo(f"{verdict.unfinished} changes are being made now.")
    if verdict.pinned:
        typer.echo(f"It is the log of the pinned checkpoint of {verdict.pinned} records: nothing of those is missing.")
    else:
        typer.echo("No pinned checkpoint was given: records cut off at the end, with checkpoints, would not be missed.")


@app.command()
def prove(
    seq: Annotated[int | None, typer.Argument(min=1, help="The record to prove.")] = None,
    earlier: Annotated[
        Path | None,
        typer.Option("--from", exists=True, dir_okay=False, help="A checkpoint that the log has grown from."),
    ] = None,
    out: Out = None,
) -> None:
    """Prove that a record is in the log, or (--from) that the log has only grown since a checkpoint.

    `regard audit verify-proof` checks it, anywhere; so does the script in docs/audit.md.
    """
    from regard.use.audit import AuditError, checkpoints, proofs

    with open_log() as log:
        if (seq is None) == (earlier is None):
            raise AuditError("name a record, or a checkpoint with --from")
        signer = checkpoints.Signer(log.sealer)
        with log.database.read() as connection:
            if earlier is not None:
                note = list(checkpoints.notes(earlier.read_text("utf-8")))[-1]
                proof = proofs.prove_growth(raw(connection), signer, note)
            else:
                assert seq is not None  # noqa: S101
                proof = proofs.prove(raw(connection), signer, seq)
    text = json.dumps(proof, ensure_ascii=False, indent=1) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, "utf-8")


@app.command("verify-proof")
def verify_proof(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What `regard audit prove` wrote.")],
    key: Annotated[
        str | None, typer.Option(help="The log's key as its owner published it (`regard audit key`).")
    ] = None,
) -> None:
    """Check a proof. It needs no log, no database and no secret."""
    from regard.use.audit import checkpoints, proofs

    with explained():
        text = file.read_text("utf-8")
        claimed = key or proofs.claimed_key(text)
        typer.echo(proofs.check(text, checkpoints.Verifier.parse(claimed)))
    if key is None:
        typer.echo(f"It was signed by the key in the file itself, {claimed}:\nmake sure that this is the log's.")


@app.command()
def checkpoint(
    every: Annotated[bool, typer.Option("--all", help="Print every one that there is, oldest first.")] = False,
) -> None:
    """Sign and print a checkpoint of the log as it is now, to be held elsewhere."""
    from regard.store.audit import checkpoints as kept
    from regard.use.audit import AuditError, checkpoints

    with open_log() as log, log.database.read() as connection:
        note = checkpoints.make(raw(connection), checkpoints.Signer(log.sealer))
        if note is None:
            raise AuditError("the log is empty")
        printed = [one.note for one in reversed(kept(raw(connection)))] if every else [note]
    typer.echo("\n".join(printed), nl=False)


@app.command()
def key() -> None:
    """Print the key that checks this log's checkpoints and proofs. It is no secret: publish it."""
    from regard.use.audit.checkpoints import Signer
    from regard.use.seal import load_sealer

    with explained():
        typer.echo(str(Signer(load_sealer(settings())).verifier))


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    )


def _wanted(
    log: "AuditLog",
    connection: "Connection",
    since: datetime | None,
    until: datetime | None,
    where: list[str] | None,
    picture: Path | None,
    subject: str | None,
) -> "Wanted | None":
    """What to show; None where no record can be meant."""
    from regard.use.audit import reading

    said = _said(where)
    if picture is not None:
        said["input_digest.Image"] = log.digest(picture.read_bytes())
    if subject is not None:
        account, _, identifier = subject.partition("/")
        names = log.pseudonyms.known(connection, account, [identifier])
        if not names:
            return None
        said["subjects"] = names[0]
    return reading.Wanted(_utc(since), _utc(until), said)


def _said(where: list[str] | None) -> dict[str, str]:
    said = {}
    for each in where or ():
        member, equals, value = each.partition("=")
        if not equals:
            end(f"--where {each}: MEMBER=VALUE is needed", ValueError(each))
        said[member] = value
    return said


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=moment.tzinfo or UTC)


def _line(record: dict[str, Any]) -> str:
    """A record in a line."""
    decision = record.get("decision", {})
    outcome = record.get("error") or (
        f"{record['result']['count']} found" if "count" in record.get("result", {}) else ""
    )
    denied = (
        f"denied by {decision.get('policy', '')} {decision.get('rule', '')}" if decision.get("effect") == "deny" else ""
    )
    parts = (
        f"{record['seq']:>8}",
        record["ts"][:19].replace("T", " "),
        f"{record['event']:<11}",
        record.get("op", ""),
        record.get("resource", "").rpartition(":")[2].replace("*", ""),
        record.get("principal") or "",
        record.get("purpose") or "",
        denied or outcome,
    )
    return "  ".join(part for part in parts if part.strip())
