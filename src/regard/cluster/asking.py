"""Questions to the cluster, and what is done when it does not answer.

No question changes anything, so one whose node or process has died meanwhile is asked again. Where the cluster has no
room, clients get ThrottlingException; where it gives no answer, they get InternalServerError. AWS's SDKs try again
after both. Whatever was to be written is written by the front after its questions are answered, in one transaction.
"""

import threading
import time
import weakref
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import (
    ObjectLostError,
    ObjectStoreFullError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError
from ray.serve.handle import DeploymentHandle

from regard.wire.errors import InternalServerError, ThrottlingException

ATTEMPTS = 4  # one, and again where a replica has died; a node that dies may have held several
PAUSE_S = 0.2
PATIENCE_S = 60.0  # for an answer; a capability that has no replica yet needs some seconds to get one
_BY_REFERENCE = 100_000  # bytes, from which on Ray keeps arguments in shared memory

_DIED = (RayActorError, WorkerCrashedError, ObjectLostError, ReplicaUnavailableError)


def ask(handle: DeploymentHandle[Any], *question: Any, **named: Any) -> Any:
    """The answer. Raises what was raised there, or one of AWS's errors that clients try again after."""
    deadline = time.monotonic() + PATIENCE_S
    for attempt in range(ATTEMPTS):
        response = handle.remote(*question, **named)
        try:
            return response.result(timeout_s=max(0.0, deadline - time.monotonic()))
        except RayTaskError as error:
            cause = error.cause
            if not isinstance(cause, _DIED):
                raise (cause if isinstance(cause, Exception) else InternalServerError()) from None
        except TimeoutError:
            response.cancel()  # type: ignore[no-untyped-call]
            raise ThrottlingException from None
        except (BackPressureError, ObjectStoreFullError):
            raise ThrottlingException from None
        except _DIED:
            pass
        except (DeploymentUnavailableError, RayError) as error:
            raise InternalServerError from error
        time.sleep(PAUSE_S * 2**attempt)
    raise InternalServerError


class Pictures:
    """Pixels in the shared memory of the cluster: put there once, however many questions are asked about them."""

    def __init__(self) -> None:
        self._kept: dict[int, ray.ObjectRef[Any]] = {}
        self._lock = threading.Lock()

    def shared(self, image: NDArray[np.uint8]) -> Any:
        """What stands for the picture in a question; small ones travel with it."""
        if image.nbytes < _BY_REFERENCE:
            return image
        key = id(image)
        with self._lock:
            known = self._kept.get(key)
        if known is not None:
            return known
        try:
            reference = ray.put(image)
        except ObjectStoreFullError:
            raise ThrottlingException from None
        with self._lock:
            self._kept[key] = reference
        weakref.finalize(image, self._kept.pop, key, None).atexit = False
        return reference
