"""`regard review`: people look over what the software found."""

import json
import os
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from rich.table import Table

from regard.cli.common import Json, account_of, console, noted, opened
from regard.operations import conditions
from regard.settings import settings
from regard.store import reviews

app = typer.Typer(
    no_args_is_help=True,
    help="""Human review: people look over matches and moderated pictures.

    `list`, `show` and `decide` are for reviewers: they speak to a running server with the access key in
    AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, whose role must be *reviewer* (`regard keys create --role reviewer`).
    `reviewers` and `flow` are for the operator, on the server's machine. docs/review.md tells how it is meant.
    """,
)
flow_app = typer.Typer(no_args_is_help=True, help="Flow definitions: when DetectModerationLabels asks people.")
app.add_typer(flow_app, name="flow")

Endpoint = Annotated[str, typer.Option(help="Where the server is.")]
ReviewId = Annotated[str, typer.Argument(help="The review, r-….")]
AccountId = Annotated[str | None, typer.Option("--account", help="The account. [default: the deployment's first]")]
FLOW = "flow-definition"  # the event of the audit log
_HERE = "http://127.0.0.1:8742"


def _ask(endpoint: str, path: str, body: Any = None) -> bytes:
    """What a server's control plane answers to a signed request."""
    identity, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not identity or not secret:
        typer.echo("error: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be a reviewer's key.", err=True)
        raise typer.Exit(1)
    data = None if body is None else json.dumps(body).encode()
    method = "GET" if data is None else "POST"
    request = AWSRequest(method, endpoint.rstrip("/") + path, {"Content-Type": "application/json"}, data or b"")
    SigV4Auth(Credentials(identity, secret), "rekognition", settings().region).add_auth(request)
    try:
        response = urllib3.request(
            method, str(request.url), body=data, headers=dict(request.headers.items()), redirect=False, timeout=30
        )
    except urllib3.exceptions.HTTPError as error:
        typer.echo(f"error: {endpoint} does not answer: {error}", err=True)
        raise typer.Exit(1) from error
    if response.status != 200:
        told = response.json().get("message") if "json" in response.headers.get("content-type", "") else None
        typer.echo(f"error: {told or f'{endpoint} answered with status {response.status}'}", err=True)
        raise typer.Exit(1)
    return response.data


@app.command("list")
def list_(endpoint: Endpoint = _HERE, as_json: Json = False) -> None:
    """List what waits for your verdict, the oldest first."""
    found = json.loads(_ask(endpoint, "/-/reviews"))["Reviews"]
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table("Review", "Of", "Resource", "Because of", "Since")
    for review in found:
        table.add_row(
            review["ReviewId"], review["Operation"], review["Resource"], review["Rule"], review["Created"][:16]
        )
    console.print(table)


@app.command()
def show(
    review_id: ReviewId,
    endpoint: Endpoint = _HERE,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the picture.")] = Path("out"),
) -> None:
    """Show a review: the picture, as a file, and the candidates.

    How alike the software finds them, and what others said, is shown once you have given your verdict. The time until
    then is taken.
    """
    address = f"/-/reviews/{quote(review_id, safe='')}"
    review = json.loads(_ask(endpoint, address))
    typer.echo(json.dumps(review, indent=2))
    if review["Kind"] == "moderation" or "Image" in review["Operation"]:
        out.mkdir(parents=True, exist_ok=True)
        picture = out / f"{review['ReviewId']}.jpg"
        picture.write_bytes(_ask(endpoint, f"{address}/picture"))
        typer.echo(f"The picture is in {picture}.", err=True)


@app.command()
def decide(
    review_id: ReviewId,
    right: Annotated[
        list[str] | None, typer.Option(help="The id of a candidate that is right; may be given again.")
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="No candidate is right.")] = False,
    note: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    endpoint: Endpoint = _HERE,
) -> None:
    """Give your verdict, once: `--right ID` for each candidate that is right, or `--none`."""
    if bool(right) == none:
        raise typer.BadParameter("say --right ID, or --none", param_hint="--right")
    body = {"chosen": right or [], "note": note}
    review = json.loads(_ask(endpoint, f"/-/reviews/{quote(review_id, safe='')}/verdict", body))
    typer.echo(json.dumps(review, indent=2))


@app.command()
def reviewers(account_id: AccountId = None, as_json: Json = False) -> None:
    """Tell how reviewers do: controls passed, agreement with others, time taken."""
    with opened() as database:
        account = account_of(database, account_id)
        with database.read() as connection:
            found = reviews.reviewers(connection, account)
    if as_json:
        fields = [
            {
                "Reviewer": one.reviewer,
                "Verdicts": one.verdicts,
                "Controls": one.controls,
                "ControlsPassed": one.controls_passed,
                "JointReviews": one.joint,
                "Agreed": one.agreed,
                "MedianSeconds": round(one.median_seconds, 1),
            }
            for one in found
        ]
        typer.echo(json.dumps(fields))
        return
    table = Table("Reviewer", "Verdicts", "Controls passed", "Agreed with the others", "Median time")
    for one in found:
        table.add_row(
            one.reviewer,
            str(one.verdicts),
            f"{one.controls_passed} of {one.controls}",
            f"{one.agreed} of {one.joint}",
            f"{one.median_seconds:.0f} s",
        )
    console.print(table)


@flow_app.command("put")
def put(
    name: Annotated[str, typer.Argument(help="The last part of the flow definition's ARN.")],
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="HumanLoopActivationConditions, JSON, as A2I has it.")
    ],
    quorum: Annotated[int, typer.Option(min=1, max=9, help="How many reviewers must agree.")] = 1,
    account_id: AccountId = None,
) -> None:
    """Define a flow, or define it anew."""
    text = file.read_text("utf-8")
    try:
        conditions.read(text)
    except conditions.ConditionsError as error:
        typer.echo(f"error: {file}: {error}", err=True)
        raise typer.Exit(1) from error
    with opened() as database:
        account = account_of(database, account_id)
        with database.begin() as connection:
            reviews.put_flow(connection, account, reviews.Flow(name, text, quorum))
            noted(connection, database, FLOW, account=account, details={"flow": name, "quorum": quorum})
    typer.echo(f"{name} is defined.")


@flow_app.command("list")
def flows(account_id: AccountId = None) -> None:
    """List the flows."""
    with opened() as database:
        account = account_of(database, account_id)
        with database.read() as connection:
            found = reviews.flows(connection, account)
    for flow in found:
        typer.echo(f"{flow.name}  quorum {flow.quorum}\n{flow.conditions}")


@flow_app.command("remove")
def remove(name: Annotated[str, typer.Argument(help="The flow's name.")], account_id: AccountId = None) -> None:
    """Remove a flow; pictures for it are then always looked at, as for every flow that is not defined."""
    with opened() as database:
        account = account_of(database, account_id)
        with database.begin() as connection:
            removed = reviews.remove_flow(connection, account, name)
            if removed:
                noted(connection, database, FLOW, account=account, details={"flow": name, "removed": True})
    if not removed:
        typer.echo(f"There is no flow {name}.", err=True)
        raise typer.Exit(1)
    typer.echo(f"{name} is removed.")
