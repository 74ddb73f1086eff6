"""`regard evaluate` and `regard calibrate`: how right it is, and what a Similarity means."""

from pathlib import Path
from typing import Annotated

import typer

from regard.cli.common import console, end, explained
from regard.evaluate.result import EvaluationError
from regard.settings import settings


def evaluate(
    data: Annotated[
        Path | None, typer.Argument(exists=True, file_okay=False, help="Folder with evaluation data.")
    ] = None,
    people: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of your own: PERSON/PICTURE.jpg, several of each."),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="An evaluation's name; may be given again.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Leave out what takes minutes.")] = False,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for report.html and report.json.")] = Path("out"),
    listed: Annotated[bool, typer.Option("--list", help="List the evaluations, with DATA also which it has.")] = False,
    publish: Annotated[
        bool, typer.Option("--publish", help="For developers: write docs/accuracy/ and what the cards say.")
    ] = False,
) -> None:
    """Measure what the networks get right and wrong, and for whom, and write a report.

    docs/accuracy/README.md says which data it takes and how to read the report. Without any data of others,
    `regard evaluate --people FOLDER` measures Regard on your own pictures of people.
    """
    from regard.evaluate import command

    with explained():
        evaluations = command.chosen(only or [], people, data, fast=fast)
        if listed:
            console.print(command.listing(evaluations, data))
            return
        folder = data or people
        if folder is None:
            raise EvaluationError("Name the folder with evaluation data, or one with your own pictures by --people.")
        if publish:
            command.publish(evaluations, folder, settings(), console)
        else:
            command.write(evaluations, folder, settings(), out, console)


def calibrate(
    folder: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="Pictures: labels.csv, or PERSON/PICTURE.jpg.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The calibration to write.")] = Path("calibration.json"),
    group: Annotated[
        list[str] | None, typer.Option(help="A column of labels.csv that makes groups; may be given again.")
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="COLUMN=VALUE whose pictures make no knots; may be given again.")
    ] = None,
    same_person: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="CSV of files a, b that show one person.")
    ] = None,
    cohort: Annotated[
        Path | None, typer.Option(help="Make a cohort of the same pictures, too, and write it here (.npz).")
    ] = None,
) -> None:
    """Measure on pictures of strangers which score has which Similarity, and write it to a file.

    A Similarity then stands for the false match rate of the group that fares worst among your pictures.
    `REGARD_CALIBRATION`, or `calibration` in the description of your own embedder, puts the file to use;
    docs/models.md says more. Stored faces stay as they are.
    """
    from rich.progress import track

    from regard.evaluate import calibration
    from regard.vision.faces import FaceEngine

    with explained():
        try:
            people = calibration.listed(folder, group or (), leave_out or (), same_person)
            found = calibration.calibrate(
                FaceEngine.load(settings(), calibrated=False),
                people,
                settings().threads,
                lambda items, title: track(items, title, console=console),
                new_cohort=cohort is not None,
            )
        except calibration.CalibrationError as error:
            end(str(error), error)
    found.write(out)
    if cohort is not None and found.comparison.cohort is not None:
        found.comparison.cohort.save(cohort)
    console.print(calibration.summary(found))
