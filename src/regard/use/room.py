"""Room on the disk: what would store more is refused before PostgreSQL has none left.

A PostgreSQL that cannot write its log or a checkpoint ends, and does not start again until there is room; nothing could
be read until then, since what is not on record is not answered. So the last of the room is kept for records, and for
deleting, which makes room.
"""

from regard.store.database import Database
from regard.use.chain import Call
from regard.wire.errors import InternalServerError

STORING = ("Associate", "Create", "Index", "Start", "Tag")
"""How the names of operations begin that store something."""


class Room:
    """Refuses what would store more while less than `reserve` bytes are free where the embedded database lies.

    The error is one that AWS's clients try again after.
    """

    def __init__(self, database: Database, reserve: int) -> None:
        self._database, self._reserve = database, reserve

    def before(self, call: Call) -> None:
        if call.operation.startswith(STORING) and self._database.room < self._reserve:
            raise InternalServerError("There is no room to store more at the moment. Try your call again.")

    def after(self, call: Call) -> None:
        pass
