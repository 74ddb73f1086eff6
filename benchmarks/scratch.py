"""A folder for a database that a benchmark fills."""

import atexit
import shutil
import tempfile
from pathlib import Path


def scratch() -> Path:
    """An empty folder that goes when the process ends, after the database that was started in it: what is
    registered last is done first, and a database in a folder that is being removed writes on."""
    folder = Path(tempfile.mkdtemp(prefix="regard-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
