"""What a client is told of an object that cannot be had: that it is not there, or that it may be there later."""

from regard.jobs.runner import may_pass
from regard.media.storage import ObjectUnavailable
from regard.wire.errors import InternalServerError, InvalidS3ObjectException, ServiceError


def refusal(error: ObjectUnavailable) -> ServiceError:
    """The error to answer. AWS's clients try again by themselves where the storage itself did not answer."""
    return InternalServerError() if may_pass(error) else InvalidS3ObjectException(str(error))
