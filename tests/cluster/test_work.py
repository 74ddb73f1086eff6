"""How a part has failed comes back from its node as it was, so that what may pass is tried again and the rest told."""

import pickle
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

pytest.importorskip("ray")

from regard.cluster.work import Failed
from regard.jobs.work import JobFailed
from regard.media.images import ImageTooLarge
from regard.media.storage import ObjectChanged, ObjectUnavailable
from regard.media.video import VideoTooLarge
from regard.wire.errors import AccessDeniedException


@pytest.mark.parametrize(
    "chain",
    [
        (JobFailed("The video was replaced.", "INVALID_S3_OBJECT"), ObjectChanged()),
        (ObjectUnavailable(), EndpointConnectionError(endpoint_url="http://127.0.0.1:1")),
        (ObjectUnavailable(), ClientError({"Error": {"Code": "SlowDown"}}, "GetObject")),
        (JobFailed("The image is too large.", "IMAGE_TOO_LARGE"), ImageTooLarge("9 bytes")),
        (JobFailed("The video is too large.", "VIDEO_TOO_LARGE"), VideoTooLarge("too many frames")),
        (AccessDeniedException("The access key has been revoked."),),
    ],
    ids=lambda chain: " from ".join(type(error).__name__ for error in chain),
)
def test_what_a_part_has_raised_is_the_same_from_another_node(chain: tuple[BaseException, ...]) -> None:
    given: Any = pickle.loads(pickle.dumps(Failed(chain))).error()  # noqa: S301 - of this test
    for error in chain:
        assert type(given) is type(error)
        assert str(given) == str(error)
        assert getattr(given, "code", None) == getattr(error, "code", None)
        given = given.__cause__
    assert given is None
