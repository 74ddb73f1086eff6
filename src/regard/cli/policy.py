"""`regard policy`: what the deployment may be used for, as files that are checked, tried and put into force."""

import difflib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from regard.cli.common import Json, console, end, noted, opened, unsealed
from regard.settings import settings
from regard.store import policies
from regard.use import book as books
from regard.use.book import Book, Held
from regard.use.permissions import Document
from regard.use.policy import PolicyError

app = typer.Typer(
    no_args_is_help=True,
    help="""What the deployment may be used for: use policies (TOML) and permissions (JSON).

    A policy says what holds for a purpose. `regard policy list` shows those in force; `regard policy show photo-search`
    one to begin your own with. Then `lint` it, `diff` it, `test` it, and `apply` it: running servers follow with their
    next request. docs/use-policy.md explains every kind of rule.
    """,
)
Files = Annotated[
    list[Path], typer.Argument(exists=True, dir_okay=False, help="Use policies, .toml, and permissions, .json.")
]
Name = Annotated[str, typer.Argument(help="The policy's name.")]


@contextmanager
def _told(file: Path | None = None) -> Iterator[None]:
    try:
        yield
    except PolicyError as error:
        end("\n".join(f"{file}: {line}" if file else line for line in str(error).splitlines()), error)


def _read(file: Path) -> Held | Document:
    with _told(file):
        try:
            return books.compiled(file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise PolicyError(str(error)) from error


def _name(document: Held | Document) -> str:
    return document.policy.name if isinstance(document, Held) else document.name


def _in_force() -> tuple[dict[str, str], Book]:
    """The texts in force by name, and their book."""
    with opened() as database, _told():
        with database.read() as connection:
            stored = policies.in_force(connection)
        texts = {**books.presets(), **books.roles()} | {one.name: one.document or "" for one in stored}
        return texts, books.book_of(0, stored)


@app.command("lint")
def lint(files: Files) -> None:
    """Check files and name every mistake: misspelt fields, operations that there are not, floors nobody can keep."""
    for file in files:
        document = _read(file)
        what = f"{len(document.policy.rules)} rules" if isinstance(document, Held) else "permissions"
        typer.echo(f"{file}: {_name(document)}: {what}, no mistake.")


@app.command("diff")
def diff(files: Files) -> None:
    """Show how files differ from what is in force."""
    texts, _ = _in_force()
    for file in files:
        name = _name(_read(file))
        old, new = texts.get(name, ""), file.read_text("utf-8")
        lines = difflib.unified_diff(old.splitlines(), new.splitlines(), f"{name} in force", str(file), lineterm="")
        typer.echo("\n".join(lines) or f"{file}: {name} is in force as it is.")


@app.command("test")
def try_(
    cases: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="TOML with [[cases]], see docs.")],
    policy: Annotated[
        list[Path] | None, typer.Option(exists=True, dir_okay=False, help="A file to try; may be given again.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Decide cases without doing anything, and say which do not come out as they should.

    A case names operation, purpose, the part of the request that rules look at, and the decision:

        [[cases]]
        operation = "DetectFaces"
        purpose = "education"
        request = { Attributes = ["EMOTIONS"] }
        decision = "deny"
        rule = "education/no-emotions"
    """
    from regard.gallery.gallery import Gallery
    from regard.media.storage import ObjectStore
    from regard.operations.context import Services
    from regard.use import trial
    from regard.use.audit import AuditLog
    from regard.vision.engines import Engines

    tried = [_read(file) for file in policy or ()]
    with _told(cases):
        expected = trial.read_cases(cases.read_text("utf-8"))
    with unsealed() as (sealer, database):
        with database.read() as connection:
            book = books.book_of(0, policies.in_force(connection), extra=tried)
        services = Services(
            settings(),
            database,
            sealer,
            Engines(settings()),
            Gallery(database),
            ObjectStore(settings()),
            AuditLog(database, sealer),
        )
        decisions = [trial.decide(services, book, case) for case in expected]
    wrong = [decision.differences(case) for case, decision in zip(expected, decisions, strict=True)]
    if as_json:
        rows = [
            {"Case": number, "Decision": one.decision, "Rule": one.rule, "Message": one.message, "Differences": differ}
            for number, (one, differ) in enumerate(zip(decisions, wrong, strict=True), 1)
        ]
        typer.echo(json.dumps(rows))
    else:
        for number, (case, decision, differ) in enumerate(zip(expected, decisions, wrong, strict=True), 1):
            mark, style = ("✗", "red") if differ else ("✓", "green")
            said = f"{mark} {number} {case.purpose or 'no purpose'} {case.operation}: {decision.decision}"
            console.print(Text(said + (f" by {decision.rule}" if decision.rule else ""), style=style))
            for difference in differ:
                console.print(Text(f"    {difference}"))
            if differ and decision.message:
                console.print(Text(f"    {decision.message}"))
    if any(wrong):
        raise typer.Exit(1)


@app.command("apply")
def apply(files: Files) -> None:
    """Put files into force, all or none, each as a new version; running servers follow with their next request."""
    documents = {}
    for file in files:
        document = _read(file)
        if _name(document) in documents:
            with _told():
                raise PolicyError(f"two of the files are named {_name(document)}")
        documents[_name(document)] = (file.read_text("utf-8"), document.digest)
    with opened() as database, database.begin() as connection:
        made = policies.put(connection, documents)
        if made:
            noted(connection, database, "policy-applied", details={"versions": made})
    for name in documents:
        typer.echo(f"{name}@{made[name]} is in force." if name in made else f"{name} is in force as it is.")


@app.command("withdraw")
def withdraw(name: Name) -> None:
    """Take a policy of yours out of force; one that came with Regard under its name holds again. History stays."""
    with opened() as database, database.begin() as connection:
        known = name in {one.name for one in policies.in_force(connection)}
        if known:
            policies.put(connection, {name: (None, "")})
            noted(connection, database, "policy-withdrawn", resource=name)
    if not known:
        typer.echo(f"No policy {name} of yours is in force.", err=True)
        raise typer.Exit(1)
    typer.echo(f"{name} is withdrawn.")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the policies and permissions in force, and the purposes that they are for."""
    _, book = _in_force()
    if as_json:
        fields = {
            "Policies": [
                {
                    "Name": held.policy.name,
                    "Version": held.version,
                    "Title": held.policy.title,
                    "Purposes": held.policy.holds.purposes,
                    "Rules": [rule.id for rule in held.policy.rules],
                    "Digest": held.digest,
                }
                for held in book.held.values()
            ],
            "Roles": [{"Name": one.name, "Version": one.version, "Digest": one.digest} for one in book.roles.values()],
        }
        typer.echo(json.dumps(fields))
        return
    table = Table("Policy", "Version", "Purposes", "Title", "Rules")
    for name in sorted(book.held):
        held = book.held[name]
        rules = ", ".join(rule.id for rule in held.policy.rules)
        purposes = ", ".join(held.policy.holds.purposes) or "all"
        table.add_row(name, str(held.version or "came with Regard"), purposes, held.policy.title, rules)
    console.print(table)
    console.print(f"Roles: {', '.join(sorted(book.roles))}")


@app.command("show")
def show(
    name: Name,
    version: Annotated[int | None, typer.Option(help="A version of yours. [default: the one in force]")] = None,
    history: Annotated[bool, typer.Option("--history", help="List your versions instead.")] = False,
) -> None:
    """Print a policy as it was applied, to read, or to begin your own with."""
    texts, _ = _in_force()
    with opened() as database, database.read() as connection:
        versions = policies.history(connection, name)
    if history:
        for one in versions:
            state = "withdrawn" if one.document is None else one.digest
            typer.echo(f"{name}@{one.version}  {one.created_at:%Y-%m-%d %H:%M}  {state}")
        return
    text = texts.get(name) if version is None else {one.version: one.document for one in versions}.get(version)
    if text is None:
        typer.echo(f"There is no policy {name}{'' if version is None else f' of version {version}'}.", err=True)
        raise typer.Exit(1)
    typer.echo(text, nl=not text.endswith("\n"))
