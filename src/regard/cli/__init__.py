"""The command line: `regard --help` teaches it. One module per group of commands."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from regard.cli import accuracy, analyze, backup, cluster, looking, server, standing
from regard.cli.common import explained
from regard.settings import settings

# In the order in which `regard --help` lists them, and where each is.
GROUPS = {
    "keys": "keys",
    "accounts": "accounts",
    "policy": "policy",
    "authorisations": "authorisations",
    "opt-outs": "optouts",
    "audit": "audit",
    "review": "review",
    "consent": "consent",
    "retention": "retention",
    "subject": "subject",
    "report": "report",
    "jobs": "jobs",
    "models": "models",
    "celebrities": "celebrities",
}


class _Groups(TyperGroup):
    """Imports a group of commands when it is asked for: what one of them needs, the others need not wait for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *GROUPS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in GROUPS:
            return super().get_command(ctx, cmd_name)
        group = get_command(import_module(f"regard.cli.{GROUPS[cmd_name]}").app)
        group.name = cmd_name
        return group


app = typer.Typer(
    cls=_Groups,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""**Regard**: Amazon Rekognition that you can own.

    First steps:

    1. `regard models fetch` brings the networks.
    2. `regard init --purpose photo-search` makes the data folder and prints an access key for that purpose, once.
    3. `regard serve` answers AWS clients: boto3, the AWS CLI, any SDK.
       Point them at it with `AWS_ENDPOINT_URL_REKOGNITION=http://127.0.0.1:8742`.

    `regard look PHOTO` and `regard analyze VIDEO` show what the networks see, with no server.
    Settings are environment variables, `REGARD_HOME` first of all; docs/settings.md lists them.
    """,
)

for command in (
    server.init,
    server.serve,
    cluster.up,
    server.worker,
    backup.backup,
    backup.restore,
    looking.look,
    analyze.analyze,
    looking.tour,
    looking.demo,
    accuracy.evaluate,
    accuracy.calibrate,
    standing.suspend,
    standing.reinstate,
    standing.appeal,
):
    app.command()(command)


@app.callback()
def main() -> None:
    with explained():
        settings()
