"""What a process on a node of the cluster is given, and what it takes from its node.

The front's choices travel with what it deploys. Secrets and places never do, for Ray keeps arguments and shows them:
the URL of the database, the master key, and where networks and buckets are, come from the node's own environment.
"""

from collections.abc import Mapping
from typing import Any

from regard import heap, log
from regard.settings import HOME, Settings
from regard.use.seal import Sealer, SealError, load_sealer

OWN = frozenset(
    {
        *("home", "cache", "buckets", "database_url", "master_key", "webhook_url", "webhook_secret", "audit_pin"),
        *("host", "port", "proxies", "threads", "workers", "log_level", "log_json"),
    }
)
"""The settings that a node has from its own environment."""

Choices = Mapping[str, Any]


def choices(settings: Settings) -> dict[str, Any]:
    """What an operator chose for the front that nodes must choose as well."""
    return settings.model_dump(include=settings.model_fields_set - OWN)


def begin(choices: Choices) -> Settings:
    """What a process on this node does first: its settings, and logs and memory as they want them."""
    own = Settings(_env_file=HOME / "regard.env", **choices)  # type: ignore[call-arg]
    log.configure(own.log_level, as_json=own.log_json)
    heap.keep_small(own.cluster_threads)
    return own.model_copy(update={"threads": own.cluster_threads})


def sealer_of(settings: Settings) -> Sealer:
    """SealError where the node has no master key: one made here could open nothing."""
    if settings.master_key is None and not (settings.home / "master.key").exists():
        raise SealError("this node of the cluster has no master key: give it REGARD_MASTER_KEY")
    return load_sealer(settings)
