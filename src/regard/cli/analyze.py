"""`regard analyze`: what analyses see in a video on disk."""

from pathlib import Path
from typing import Annotated

import typer

from regard.cli.common import console, end, explained
from regard.settings import settings


def analyze(
    video: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="MP4, MOV, Matroska, WebM or AVI.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")] = Path("out"),
    only: Annotated[
        list[str] | None, typer.Option(help="What to look for; may be given again. [default: everything]")
    ] = None,
    annotate: Annotated[bool, typer.Option("--video", help="Draw what is seen on every frame, too.")] = False,
) -> None:
    """Look for labels, faces, people, text, moderation labels and segments in a video. Needs no server.

    Writes the results as the Get operations give them, JSON, and a contact sheet of key frames.
    """
    from regard.analyze import analyze as run
    from regard.analyze import names
    from regard.media.video import VideoError

    if unknown := set(only or ()) - set(names()):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: choose of {', '.join(names())}", param_hint="--only")
    chosen = [name for name in names() if not only or name in only]
    with explained():
        try:
            out.mkdir(parents=True, exist_ok=True)
            for file in run(settings(), video, chosen, out, console, annotate=annotate):
                console.print(str(file), highlight=False)
        except VideoError as error:
            end(f"{video}: {error}", error)
        except OSError as error:
            end(str(error), error)
