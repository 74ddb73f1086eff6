"""Reports: counts that are right, point at nobody, and say so where the log was altered."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from regard.settings import Settings
from regard.store.database import Database, raw
from regard.use.audit import AuditLog
from regard.use.reports import pages, technical_file, transparency
from regard.use.reports.disclosure import K, line

counts = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), st.integers(0, 60), max_size=8)


@settings(deadline=None)
@given(counts)
def test_no_small_count_is_shown_or_follows_from_the_others_and_the_total(counted: dict[str, int]) -> None:
    """Whoever reads the line knows of a small count no more than that it is small."""
    published = line(counted)
    assert published.cells.keys() == counted.keys()
    assert all(shown in (None, counted[name]) for name, shown in published.cells.items())
    assert published.total in (None, sum(counted.values()))
    hidden = [name for name, shown in published.cells.items() if shown is None]
    small = [name for name in hidden if counted[name] < K]
    assert {name for name, count in counted.items() if 0 < count < K} == set(small)
    if published.total is None or not hidden:
        return
    rest = published.total - sum(shown for shown in published.cells.values() if shown is not None)
    for name in small:
        others = [1.0 if other == name else 0.0 for other in hidden]
        ends = [
            linprog(np.array(others) * sign, A_eq=[[1.0] * len(hidden)], b_eq=[rest], bounds=[(1, None)] * len(hidden))
            for sign in (1, -1)
        ]
        assert ends[0].fun <= 1
        assert -ends[1].fun >= K - 1


class Balanced(HTMLParser):
    """Fails where a page closes what it did not open."""

    VOID = frozenset(("meta", "br", "img", "link", "hr"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_page(path: Path) -> str:
    page = path.read_text("utf-8")
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    return page


def fill(log: AuditLog) -> None:
    with log.database.begin() as connection:
        for _ in range(40):
            log.write(connection, "request", op="SearchFacesByImage", purpose="photos", result={"count": 2})
        for _ in range(12):
            log.write(connection, "request", op="ListFaces", purpose="photos")
        for _ in range(3):
            seq = log.write(connection, "intent", op="IndexFaces", purpose="photos")
            log.write(connection, "outcome", op="IndexFaces", purpose="photos", intent=seq)
        for number in range(30):
            denied = {"effect": "deny", "policy": "school@1", "rule": "no-emotions" if number else "minors"}
            error = "AccessDeniedException"
            log.write(connection, "request", op="DetectFaces", purpose="education<", decision=denied, error=error)
        log.write(connection, "unauthenticated", error="UnrecognizedClientException", count=77)
        log.write(connection, "erasure", count=15)
        log.write(connection, "review", review={"verdict": "confirmed"})


def test_the_transparency_report_counts_what_is_on_record(audit_log: AuditLog, tmp_path: Path) -> None:
    fill(audit_log)
    html, plain = pages.write_transparency(transparency.make(audit_log.database, None, None), tmp_path)
    page, said = check_page(html), json.loads(plain.read_text("utf-8"))
    sections = {section["title"]: section["lines"] for section in said["sections"]}
    assert sections["Requests"]["photos"] == {
        # The three are hidden, and with them the twelve; else the total would give them away.
        "cells": {"SearchFacesByImage": None, "ListFaces": None, "IndexFaces": None},
        "total": 55,
    } or sections["Requests"]["photos"] == {
        "cells": {"SearchFacesByImage": 40, "ListFaces": None, "IndexFaces": None},
        "total": 55,
    }
    assert sections["Requests"]["education<"] == {"cells": {"DetectFaces": 30}, "total": 30}
    assert sections["Denials"]["denied"]["total"] == 30
    assert sections["Denials"]["denied"]["cells"] == {"school@1 no-emotions": None, "school@1 minors": None}
    assert sections["Matches"]["matches, by purpose"]["cells"] == {"photos": 80}
    assert sections["Errors"]["not authenticated"]["cells"] == {"UnrecognizedClientException": 77}
    assert sections["Other events"]["events"]["cells"]["erasure"] is None
    assert sections["Review by people"]["verdicts"] == {"cells": {"confirmed": None}, "total": None}
    assert {model["evaluation"] for model in said["models"]}
    assert said["remarks"] == []
    assert "education&lt;" in page


def test_a_report_of_an_altered_log_says_so(database: Database, audit_log: AuditLog) -> None:
    fill(audit_log)
    with database.begin() as connection:
        under = raw(connection)
        under.execute("SET LOCAL session_replication_role = replica")
        under.execute("UPDATE audit_records SET hash = '\\x00' WHERE seq = 5")
    assert "altered" in transparency.make(database, None, None).remarks[0]


def test_the_technical_file_knows_the_deployment_and_keeps_its_secrets(audit_log: AuditLog, tmp_path: Path) -> None:
    fill(audit_log)
    secret = Settings(home=tmp_path, master_key="c2VjcmV0", database_url="postgresql://u:hunter2@h/d")  # type: ignore[arg-type]
    parts = technical_file.make(audit_log.database, audit_log.sealer, secret)
    html, plain = pages.write_technical_file(parts, tmp_path / "out")
    page = check_page(html)
    assert "To be written" in page
    assert "sface" in page
    assert "hunter2" not in page + plain.read_text("utf-8")
    assert "c2VjcmV0" not in page + plain.read_text("utf-8")
