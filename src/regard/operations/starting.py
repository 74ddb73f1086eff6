"""How a job begins, of whatever kind: once per ClientRequestToken, and not more of them than AWS allows."""

import hashlib
from collections.abc import Collection as AnyOf

import orjson

from regard.jobs import flow
from regard.operations.context import Context, Request, Response
from regard.store import jobs, tokens
from regard.wire.errors import IdempotentParameterMismatchException, LimitExceededException


def begin(context: Context, kind: str, request: Request, together: AnyOf[str], limit: int) -> Response:
    """Begin a job, once per ClientRequestToken, and give its JobId.

    Of the kinds `together` an account may have `limit` jobs in progress.
    """
    principal, operation, token = context.principal, f"Start{kind}", request.get("ClientRequestToken")
    parameters = {name: value for name, value in request.items() if name != "ClientRequestToken"}
    digest = hashlib.sha256(orjson.dumps(parameters, option=orjson.OPT_SORT_KEYS)).digest()
    with context.services.database.begin() as connection:
        if token is not None:
            try:
                earlier = tokens.claim(connection, principal.account_id, operation, token, digest)
            except tokens.TokenMismatch:
                raise IdempotentParameterMismatchException(
                    f"The ClientRequestToken: {token} you have supplied is already in use."
                ) from None
            if earlier is not None:
                return earlier
        count = jobs.count_open(connection, principal.account_id, together)
        if count >= limit:
            raise LimitExceededException(
                f"{count} open Jobs for User arn:aws:iam::{principal.account_id}:root Maximum limit: {limit}"
            )
        job_id = flow.start(connection, principal.account_id, principal.access_key_id, kind, parameters)
        response: Response = {"JobId": job_id}
        if token is not None:
            tokens.keep(connection, principal.account_id, operation, token, response)
    return response
