"""The command line: `regard --help` teaches it. One module per group of commands."""

import typer

from regard.cli import accuracy, celebrities, keys, looking, models, server
from regard.cli.common import explained
from regard.settings import settings

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

for command in (
    server.init,
    server.serve,
    looking.look,
    looking.tour,
    looking.demo,
    accuracy.evaluate,
    accuracy.calibrate,
):
    app.command()(command)
for group in (keys, models, celebrities):
    app.add_typer(group.app, name=group.__name__.rpartition(".")[2])


@app.callback()
def main() -> None:
    with explained():
        settings()
