"""`regard report technical-file`: what the deployment can say for its technical documentation, and what it cannot.

Ordered as Annex IV and Articles 12 to 15 of the EU's AI Act (Regulation (EU) 2024/1689) ask for it. What only a
person can state is a gap that says what belongs there; a file with gaps is not finished.
"""

import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from regard.evaluate import cards, document
from regard.operations import OPERATIONS
from regard.settings import Settings
from regard.store import audit as stored
from regard.store import policies
from regard.store.database import Database, raw
from regard.use.audit.checkpoints import Signer
from regard.use.seal import Sealer
from regard.vision import models

_SECRET = frozenset(("database_url", "master_key"))


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the file. `known` is what the deployment says, `gaps` what a person has to write."""

    title: str
    source: str
    known: dict[str, Any]
    gaps: tuple[str, ...] = ()


def make(database: Database, sealer: Sealer, settings: Settings) -> tuple[Part, ...]:
    """The parts, in order."""
    with database.snapshot() as pooled:
        connection = raw(pooled)
        head = stored.head(connection)
        last = stored.checkpoints(connection, 1)
        in_force = policies.in_force(pooled)
    rules = {f"{one.name}@{one.version}": one.document or "" for one in in_force}
    return (
        Part(
            "General description",
            "Annex IV (1)",
            {
                "System": f"Regard {version('regard')}",
                "Runs on": f"Python {platform.python_version()}, {platform.system()} {platform.machine()}",
                "Interface": "the AWS Rekognition protocol; operations: " + ", ".join(sorted(OPERATIONS)),
            },
            (
                "The intended purpose, the provider and the deployer.",
                "How the system is placed: who uses it, on whom, where, with which cameras and other systems.",
            ),
        ),
        Part(
            "Elements and development",
            "Annex IV (2)",
            {network.name: _network(network) for network in models.networks()},
            ("Own networks, calibrations and data that stand in for those above, and how they were made.",),
        ),
        Part(
            "Instructions for use",
            "Article 13",
            {network.name: cards.unfilled(cards.read(network).sections["Not for"]) for network in models.networks()},
            ("Instructions for the people who use the system here.",),
        ),
        Part(
            "Records",
            "Article 12",
            {
                "Audit log": f"{head.seq if head else 0} records, each request with its time, the collection "
                "searched, a keyed digest of the input, the matches, and who verified them",
                "Last checkpoint": last[0].note if last else "none",
                "Key of the checkpoints": str(Signer(sealer).verifier),
                "Pinned to": settings.audit_pin or "nowhere: set REGARD_AUDIT_PIN",
            },
            ("Where pinned checkpoints are held, by whom, and how long the log is kept (six months at least).",),
        ),
        Part(
            "Human oversight",
            "Article 14",
            rules or {"Use policies": "none is in force: the default `locked-down` holds"},
            (
                "Who oversees the system, and their training.",
                "How two people verify a match before anybody acts on it.",
            ),
        ),
        Part(
            "Accuracy, robustness and cybersecurity",
            "Article 15, Annex IV (3) and (4)",
            {
                measured.title: "; ".join(
                    f"{figure.title}: {figure.value:g} {figure.unit}"
                    + (
                        f" ({figure.low:g} to {figure.high:g})"
                        if figure.low is not None and figure.high is not None
                        else ""
                    )
                    for figure in measured.known()
                )
                for measured in document.published().measured
            },
            ("Accuracy on pictures from this deployment: `regard evaluate --people FOLDER`.",),
        ),
        Part(
            "Settings in force",
            "Annex IV (2)(c)",
            {
                name: str(value)
                for name, value in settings.model_dump().items()
                if name not in _SECRET and value is not None
            },
        ),
        Part(
            "What only people can state",
            "Annex IV (5) to (9)",
            {},
            (
                "The risk management system (Article 9) and the remaining risks.",
                "Changes through the lifecycle.",
                "The standards that were applied.",
                "The EU declaration of conformity.",
                "The plan for monitoring after it was put into service (Article 72).",
                "The data protection impact assessment (GDPR, Article 35).",
            ),
        ),
    )


def _network(network: models.Network) -> str:
    card = cards.read(network)
    return f"{card.title}: {network.task}. Licence {network.licence}, from {network.source}, SHA-256 {network.sha256}."
