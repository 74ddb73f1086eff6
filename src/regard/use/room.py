"""Room on the disk: what would store more is refused before PostgreSQL has none left.

A PostgreSQL that cannot write its log or a checkpoint ends, and does not start again until there is room; nothing could
be read until then, since what is not on record is not answered. So the last of the room is kept for records, and for
deleting, which makes room.
"""

import os
from pathlib import Path

from regard.use.chain import Call
from regard.wire.errors import InternalServerError

STORING = ("Associate", "Create", "Index", "Start", "Tag")
"""How the names of operations begin that store something."""
_MB = 1024 * 1024


class Room:
    """Refuses what would store more while less than `reserve_mb` is free where the embedded database lies.

    The error is one that AWS's clients try again after. Without `folder`, for another database, nothing is refused.
    """

    def __init__(self, folder: Path | None, reserve_mb: int) -> None:
        self._folder, self._reserve = folder, reserve_mb * _MB

    def before(self, call: Call) -> None:
        if self._folder is None or not call.operation.startswith(STORING):
            return
        disk = os.statvfs(self._folder)
        if disk.f_bavail * disk.f_frsize < self._reserve:
            raise InternalServerError("There is no room to store more at the moment. Try your call again.")

    def after(self, call: Call) -> None:
        pass
