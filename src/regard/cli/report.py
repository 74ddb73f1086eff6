"""`regard report`: what an operator publishes, and what an authority asks for."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from regard.cli.common import opened, unsealed
from regard.settings import settings

app = typer.Typer(no_args_is_help=True, help="The transparency report, and what the technical file needs.")

Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for the HTML and the JSON.")]


@app.command()
def transparency(
    out: Out = Path("out"),
    since: Annotated[datetime | None, typer.Option(help="Not before this time (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(help="Before this time (UTC).")] = None,
) -> None:
    """How the deployment was used, in counts that point at nobody."""
    from regard.use.reports import pages
    from regard.use.reports.transparency import make

    with opened() as database:
        first, end = (moment and moment.replace(tzinfo=moment.tzinfo or UTC) for moment in (since, until))
        report = make(database, first, end)
    for path in pages.write_transparency(report, out):
        typer.echo(path)


@app.command("technical-file")
def technical_file(out: Out = Path("out")) -> None:
    """What the deployment can say for the technical documentation, with the gaps that people must fill."""
    from regard.use.reports import pages
    from regard.use.reports.technical_file import make

    with unsealed() as (sealer, database):
        parts = make(database, sealer, settings())
    for path in pages.write_technical_file(parts, out):
        typer.echo(path)
