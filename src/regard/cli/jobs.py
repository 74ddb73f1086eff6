"""`regard jobs`: the jobs of stored video, how far they are, and what became of them."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.progress_bar import ProgressBar
from rich.table import Column, Table

from regard.cli.common import COMMAND, Json, console, end, noted, opened
from regard.store.database import Database
from regard.store.jobs import FAILED, IN_PROGRESS, Job

app = typer.Typer(no_args_is_help=True, help="Jobs of stored video: how far they are and what became of them.")
JobId = Annotated[str, typer.Argument(help="The JobId, or the beginning of one.")]

_SHOWN_ID = 12
_BAR_WIDTH = 20


class _NoSuchJob(Exception):
    pass


@app.command("list")
def list_(
    as_json: Json = False,
    open_only: Annotated[bool, typer.Option("--open", help="Only jobs in progress.")] = False,
) -> None:
    """List the jobs, the newest first."""
    from regard.store import jobs

    with opened() as database, database.read() as connection:
        found = [job for job in jobs.every(connection) if not open_only or job.status == IN_PROGRESS]
    if as_json:
        typer.echo(json.dumps([_fields(job) for job in found]))
        return
    table = Table(
        Column("Job", no_wrap=True, min_width=_SHOWN_ID), "Kind", "Status", "Parts", "Progress", "Took", "Message"
    )
    for job in found:
        total = job.parts_total
        bar = ProgressBar(total=total or 1, completed=job.parts_done if job.status == IN_PROGRESS else total or 0)
        bar.width = _BAR_WIDTH
        table.add_row(
            job.job_id[:_SHOWN_ID],
            job.kind,
            job.status,
            "" if total is None else f"{job.parts_done}/{total}",
            bar,
            f"{((job.completed_at or datetime.now(UTC)) - job.created_at).total_seconds():.0f} s",
            job.status_message or "",
        )
    console.print(table)


@app.command("show")
def show(job_id: JobId) -> None:
    """Print all about a job but its results, as JSON."""
    with opened() as database:
        typer.echo(json.dumps(_fields(_find(database, job_id)), indent=2))


@app.command("cancel")
def cancel(job_id: JobId) -> None:
    """End a job in progress; its client reads that it was cancelled."""
    from regard.jobs import flow
    from regard.use.resuming import JOB

    with opened() as database:
        job = _find(database, job_id)
        with database.begin() as connection:
            cancelled = flow.failed(connection, job, "The job was cancelled by the operator.")
            if cancelled:
                details = {"job": job.job_id, "status": FAILED}
                noted(connection, database, JOB, account=job.account_id, op=f"Start{job.kind}", details=details)
    typer.echo(f"{job.job_id} {'is cancelled' if cancelled else 'had ended'}.")


@app.command("delete")
def delete(job_id: JobId) -> None:
    """Forget a job, results and all, whether it has ended or not."""
    from regard.store import jobs

    with opened() as database:
        job = _find(database, job_id)
        with database.begin() as connection:
            jobs.delete(connection, job)
            noted(connection, database, COMMAND, account=job.account_id, op="DeleteJob", details={"job": job.job_id})
    typer.echo(f"{job.job_id} is forgotten.")


def _find(database: Database, beginning: str) -> Job:
    from regard.store import jobs

    with database.read() as connection:
        found = [job for job in jobs.every(connection) if job.job_id.startswith(beginning)]
    if len(found) != 1:
        problem = "There is no job" if not found else f"There are {len(found)} jobs"
        end(f"{problem} whose id begins with {beginning}.", _NoSuchJob())
    return found[0]


def _fields(job: Job) -> dict[str, Any]:
    return {
        "JobId": job.job_id,
        "Kind": job.kind,
        "AccountId": job.account_id,
        "AccessKeyId": job.access_key_id,
        "Status": job.status,
        "StatusMessage": job.status_message,
        "PartsDone": job.parts_done,
        "PartsTotal": job.parts_total,
        "Created": job.created_at.isoformat(),
        "Completed": job.completed_at.isoformat() if job.completed_at else None,
        "Notification": job.notification,
        "Request": job.request,
    }
