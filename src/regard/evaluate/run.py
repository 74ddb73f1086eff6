"""Run evaluations: those that were chosen and whose data is there, in the order of the registry."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import rich.progress
from rich.console import Console

from regard.evaluate.document import Judged, LeftOut, Measured, Report, own_networks
from regard.evaluate.registry import EVALUATIONS
from regard.evaluate.result import Evaluation, EvaluationError, ItemT, Progress
from regard.vision import models
from regard.vision.engines import Engines


def choose(only: Sequence[str] = (), *, fast: bool = False) -> tuple[Evaluation, ...]:
    """The evaluations of these names, or every one; with `fast` none that takes minutes.

    Raises `EvaluationError` for a name that is not in the registry.
    """
    unknown = [name for name in only if name not in EVALUATIONS]
    if unknown:
        raise EvaluationError(f"There is no evaluation {', '.join(unknown)}. There are: {', '.join(EVALUATIONS)}.")
    return tuple(
        evaluation
        for name, evaluation in EVALUATIONS.items()
        if (not only or name in only) and (evaluation.fast or not fast)
    )


def run(evaluations: Iterable[Evaluation], engines: Engines, data: Path, progress: Progress) -> Report:
    """What the evaluations find on the folder `data`; what it lacks the data for is left out and named.

    Raises `EvaluationError` if there is data for none of them, and `models.ModelError` for a missing network.
    """
    possible = [evaluation for evaluation in evaluations if evaluation.possible(data)]
    if not possible:
        wanted = sorted({need for evaluation in evaluations for need in evaluation.needs})
        raise EvaluationError(f"{data} holds nothing to evaluate on. It would need one of: {', '.join(wanted)}.")
    measured = tuple(
        Measured(evaluation.name, evaluation.title, evaluation.networks, evaluation.run(engines, data, progress))
        for evaluation in possible
    )
    left_out = tuple(
        LeftOut(evaluation.name, evaluation.title, evaluation.missing(data))
        for evaluation in evaluations
        if evaluation not in possible
    )
    named = {name for evaluation in possible for name in evaluation.networks}
    judged = tuple(
        Judged(network.name, _version(network), network.sha256)
        for network in models.networks()
        if network.name in named
    )
    return Report(judged, measured, left_out, own_networks(engines.settings))


@contextmanager
def bar(console: Console) -> Iterator[Progress]:
    """A progress bar for one loop after the other."""
    columns = (*rich.progress.Progress.get_default_columns(), rich.progress.MofNCompleteColumn())
    with rich.progress.Progress(*columns, console=console, transient=True) as bars:

        def track(items: Sequence[ItemT], title: str) -> Iterable[ItemT]:
            task = bars.add_task(title, total=len(items))
            yield from bars.track(items, task_id=task)
            bars.remove_task(task)

        yield track


def _version(network: models.Network) -> str:
    return f"{network.archive.package} {network.archive.version}" if network.archive else network.source
