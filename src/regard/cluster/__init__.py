"""The server on more than one machine: networks and galleries on a Ray cluster, parts of jobs as Ray tasks.

The front stays the same application (wire → use → operations) with PostgreSQL as the only place where anything is
kept. What changes is what `Services` is made of: `engines` and `gallery` answer as their namesakes in `vision` and
`gallery` do, and ask `deployments` for it; `work` has parts of jobs done elsewhere. Whatever crosses to a node is a
question that changes nothing, so that it can be asked again when a node dies. Only `cli` imports this package, and
only when it is asked for.
"""

import os
import secrets

# Before Ray is imported: nothing is told to anybody.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


def require_token() -> None:
    """Let only those use a cluster that this process starts who have the token in its environment.

    To be called before Ray is imported, which looks once.
    """
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
