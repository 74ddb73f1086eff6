"""`regard look`, `regard tour`, `regard demo`: what the networks see, shown."""

from pathlib import Path
from typing import Annotated

import typer

from regard.cli.common import console, end, explained
from regard.settings import settings


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
    with explained():
        failed = [photo for photo in photos if not look_at(engines, photo, chosen, out, console)]
    if failed:
        raise typer.Exit(1)


def tour(
    endpoint: Annotated[str, typer.Option(help="Where the server is.")] = "http://127.0.0.1:8742",
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the annotated pictures.")] = Path("out"),
) -> None:
    """Show what a running server does, through boto3, on real photos. Needs AWS credentials of the server."""
    import boto3

    from regard.tour import tour as run
    from regard.vision import models

    out.mkdir(parents=True, exist_ok=True)
    with explained():
        photos = models.photos(settings().cache)
        client = boto3.session.Session().client("rekognition", endpoint_url=endpoint, region_name=settings().region)
        run(client, photos, out, console)


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the annotated pictures.")] = Path("out"),
) -> None:
    """Start a server in a temporary data folder, take the tour through it, and stop it."""
    from regard.demo import DemoError
    from regard.demo import demo as run

    out.mkdir(parents=True, exist_ok=True)
    with explained():
        try:
            run(settings(), out, console)
        except DemoError as error:
            end(str(error), error)
