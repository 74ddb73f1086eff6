"""The rules of use for jobs: whoever began one must still be allowed what he asked for, at every step of it.

A job may wait for hours. Meanwhile its caller can be suspended, its policy changed, an authorisation run out; then the
job fails with the sentence that a request would be refused with.
"""

from collections.abc import Callable

from sqlalchemy.engine import Connection

from regard.operations.context import Context, Services
from regard.store import jobs, subjects
from regard.store.database import raw
from regard.store.jobs import Job
from regard.use import keys
from regard.use.audit import AuditLog
from regard.use.book import shelf_of
from regard.use.chain import Begun, Call
from regard.use.decisions import deny
from regard.use.enforcement import UsePolicy, book_on
from regard.use.keys import Principal
from regard.use.standing import barred
from regard.wire.errors import AccessDeniedException

JOB = "job"  # the event of the audit log
_GET = "Get"


class Results:
    """The stage that finds out who began the job whose results are asked for."""

    def before(self, call: Call) -> None:
        if not call.operation.startswith(_GET) or "JobId" not in call.request:
            return
        account_id, kind = call.context.principal.account_id, call.operation.removeprefix(_GET)
        with call.context.services.database.read() as connection:
            job = jobs.find(connection, account_id, kind, call.request["JobId"])
            if job is None:
                return  # as the operation will say
            beginner = keys.former(raw(connection), job.access_key_id)
        call.begun = Begun(beginner or Principal(job.access_key_id, account_id, ""), job.request)

    def after(self, call: Call) -> None:
        pass


def at_end(audit: AuditLog) -> Callable[[Connection, Job, str], None]:
    """What the end of a job brings with it, in the transaction that ends it: its record, and that a search names
    nobody who was erased while it was concluded."""

    def ended(connection: Connection, job: Job, status: str) -> None:
        if job.kind == subjects.SEARCH and status == jobs.SUCCEEDED:
            subjects.forget_gone(connection, job)
        audit.write(
            connection,
            JOB,
            account=job.account_id,
            principal=job.access_key_id,
            op=f"Start{job.kind}",
            details={"job": job.job_id, "status": status},
        )

    return ended


def context_of(services: Services) -> Callable[[Job], Context]:
    """`context_of(services)(job)` is the context that the job's step runs in, guarded by the rules that hold now.

    It raises AccessDeniedException where they no longer allow the job.
    """
    rules = UsePolicy(book_on(shelf_of(services.database)))

    def of(job: Job) -> Context:
        with services.database.at_hand() as connection:
            principal = keys.principal(connection, services.sealer, job.access_key_id)
        if principal is None:
            raise AccessDeniedException(f"The access key {job.access_key_id} that began the job has been revoked.")
        call = Call(job.job_id, f"Start{job.kind}", Context(principal, services), request=dict(job.request))
        found = barred(principal, call.operation)
        if found is not None:
            raise deny(call, *found)
        rules.before(call)
        return call.context

    return of
