"""`regard report transparency`: how the deployment was used, in counts that point at nobody.

It is counted from the audit log, whose chain is checked while it is read: a report of a log that was altered says
so. Every line stands alone, with a total of its own; no total runs over lines, so none tells what another hides.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from regard.evaluate import document
from regard.evaluate.document import Measured
from regard.store import audit as stored
from regard.store import keys
from regard.store.audit import Connection
from regard.store.database import Database, raw
from regard.use.audit.log import INTENT, INTERRUPTED, OUTCOME, REQUEST
from regard.use.audit.reading import Wanted
from regard.use.audit.records import facts, timestamp
from regard.use.reports.disclosure import K, Line, line

NO_PURPOSE = "(no purpose declared)"
_SEARCHES = ("SearchFaces", "SearchFacesByImage", "SearchUsers", "SearchUsersByImage", "RecognizeCelebrities")


@dataclass(slots=True)
class Counts:
    """What is counted, by name."""

    requests: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    denials: Counter[str] = field(default_factory=Counter)
    withheld: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    matched: Counter[str] = field(default_factory=Counter)
    matches: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    strangers: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)

    def add(self, record: Mapping[str, Any]) -> None:
        """Count a record of the audit log."""
        event, review = record["event"], record.get("review") or {}
        if event in (REQUEST, OUTCOME):
            self._add_request(record)
        elif event == "unauthenticated":
            self.strangers[record.get("error", "")] += record.get("count", 1)
        elif event == INTERRUPTED:
            self.events["requests interrupted by the end of a server"] += 1
        elif event != INTENT:
            self.events[event] += record.get("count", 1)
        if isinstance(review, Mapping) and "verdict" in review:
            self.verdicts[str(review["verdict"])] += 1

    def _add_request(self, record: Mapping[str, Any]) -> None:
        purpose, operation = record.get("purpose") or NO_PURPOSE, record.get("op", "")
        self.requests[purpose][operation] += 1
        decision = record.get("decision") or {}
        if decision.get("effect") == "deny":
            rule = " ".join(str(decision[name]) for name in ("policy", "rule") if decision.get(name))
            self.denials[rule or decision.get("reason", "permissions")] += 1
        elif "error" in record:
            self.failures[record["error"]] += 1
        for rule, count in (record.get("withheld") or {}).items():
            self.withheld[rule] += int(count)
        count = (record.get("result") or {}).get("count", 0)
        if operation in _SEARCHES and count:
            self.matched[purpose] += 1
            self.matches[purpose] += count


@dataclass(frozen=True, slots=True)
class Section:
    """Lines of the report under one heading."""

    title: str
    about: str
    lines: dict[str, Line]


@dataclass(frozen=True, slots=True)
class Transparency:
    """The report."""

    since: str
    until: str
    sections: tuple[Section, ...]
    policies: dict[str, str]
    models: tuple[Measured, ...]
    remarks: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """It as JSON knows it; hidden counts are null."""
        return {
            "since": self.since,
            "until": self.until,
            "smallest_count_published": K,
            "sections": [asdict(section) for section in self.sections],
            "policies": self.policies,
            "models": [
                {
                    "evaluation": measured.name,
                    "title": measured.title,
                    "networks": measured.networks,
                    "data": measured.result.data,
                    "figures": [asdict(figure) for figure in measured.result.figures],
                    "tables": [asdict(table) for table in measured.result.tables],
                }
                for measured in self.models
            ],
            "remarks": self.remarks,
        }


def make(database: Database, since: datetime | None, until: datetime | None) -> Transparency:
    """The report on a time; all that is on record, where it is not given."""
    from regard.store import policies

    with database.snapshot() as pooled:
        connection = raw(pooled)
        counts, first, last, remarks = count(connection, Wanted(since, until))
        standings = [standing for standing in keys.history(pooled) if _within(standing.since, since, until)]
        appeals = [appeal for appeal in keys.every_appeal(pooled) if _within(appeal.created_at, since, until)]
        in_force = {f"{version.name}@{version.version}": version.digest for version in policies.in_force(pooled)}
    statuses: Counter[str] = Counter(standing.status for standing in standings)
    outcomes = Counter(appeal.outcome or "not decided yet" for appeal in appeals)
    return Transparency(
        timestamp(since) if since else first,
        timestamp(until) if until else last,
        _sections(counts, dict(statuses), dict(outcomes)),
        in_force,
        document.published().measured,
        remarks,
    )


def count(connection: Connection, wanted: Wanted) -> tuple[Counts, str, str, tuple[str, ...]]:
    """What is on record in a time: the counts, when the first and last record were, and what is wrong with them."""
    counts, times, broken = Counts(), ["", ""], False
    previous: bytes | None = None
    for _, content, hashed, _ in stored.stream(connection, *wanted.span(connection)):
        follows = previous is None or b'"prev_hash":"%b"' % previous.hex().encode() in content
        broken = broken or not follows or sha256(content).digest() != hashed
        previous = hashed
        record = facts(content)
        counts.add(record)
        times = [times[0] or record["ts"], record["ts"]]
    remarks = ("The audit log that this was counted from has been altered: see `regard audit verify`.",)
    return counts, times[0], times[1], remarks if broken else ()


def _sections(counts: Counts, statuses: Mapping[str, int], outcomes: Mapping[str, int]) -> tuple[Section, ...]:
    requests = {purpose: line(operations) for purpose, operations in sorted(counts.requests.items())}
    return (
        Section("Requests", "By the purpose of the access key and the operation.", requests),
        Section(
            "Denials",
            "Requests that a rule of use refused, by the rule.",
            {"denied": line(counts.denials), "matches or faces withheld": line(counts.withheld)},
        ),
        Section(
            "Matches",
            "Searches among enrolled people that found somebody, and how many were found.",
            {"searches with a match, by purpose": line(counts.matched), "matches, by purpose": line(counts.matches)},
        ),
        Section("Review by people", "Verdicts.", {"verdicts": line(counts.verdicts)}),
        Section(
            "Suspensions and appeals",
            "Changes of the standing of accounts and access keys, and what came of appeals.",
            {"now": line(statuses), "appeals": line(outcomes)},
        ),
        Section(
            "Other events",
            "What else is on record, such as consents, erasures, deletions at the end of retention, and complaints.",
            {"events": line(counts.events)},
        ),
        Section(
            "Errors",
            "Requests that failed, and attempts that no known key had signed.",
            {"failed": line(counts.failures), "not authenticated": line(counts.strangers)},
        ),
    )


def _within(moment: datetime, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or moment >= since) and (until is None or moment < until)
