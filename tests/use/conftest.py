"""What the tests of use share: an audit log in a database of its own."""

import os
from collections.abc import Iterator

import pytest

from regard.store.database import Database
from regard.use.audit import AuditLog
from regard.use.seal import Sealer


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(os.urandom(32))


@pytest.fixture
def audit_log(database: Database, sealer: Sealer) -> Iterator[AuditLog]:
    log = AuditLog(database, sealer)
    yield log
    log.close()
