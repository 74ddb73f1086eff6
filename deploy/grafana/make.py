"""Write the dashboard from a table of its panels, so that it can be read and changed.

    python deploy/grafana/make.py

`tests/test_deploy.py` fails while `regard.json` is stale.
"""

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "regard.json"
SELECTED = '{instance=~"$instance"}'

QUANTILE = "histogram_quantile({}, sum by (operation, le) (rate(regard_request_seconds_bucket$S[5m])))"

# Rows of panels: title, unit, then legend and query of each line. `$S` stands for the chosen instances.
ROWS: dict[str, list[tuple[str, str, list[tuple[str, str]]]]] = {
    "Requests": [
        ("By operation", "reqps", [("{{operation}}", "sum by (operation) (rate(regard_requests_total$S[5m]))")]),
        (
            "Errors by code",
            "reqps",
            [("{{code}}", 'sum by (code) (rate(regard_requests_total{instance=~"$instance", code!="OK"}[5m]))')],
        ),
        (
            "Time to answer, p50 and p99",
            "s",
            [
                ("p50 {{operation}}", QUANTILE.format(0.5)),
                ("p99 {{operation}}", QUANTILE.format(0.99)),
            ],
        ),
        (
            "Ready",
            "none",
            [("{{instance}}", "regard_ready$S"), ("{{instance}} {{version}}", "regard_build$S")],
        ),
    ],
    "Load": [
        (
            "Received, waiting, carried out",
            "none",
            [
                ("received", "sum(regard_requests_reading$S)"),
                ("waiting", "sum(regard_requests_waiting$S)"),
                ("carried out", "sum(regard_requests_in_flight$S)"),
            ],
        ),
        ("Not let in", "reqps", [("{{cause}}", "sum by (cause) (rate(regard_requests_refused_total$S[5m]))")]),
        (
            "Wait for others",
            "s",
            [
                ("p50", "histogram_quantile(0.5, sum by (le) (rate(regard_request_wait_seconds_bucket$S[5m])))"),
                ("p99", "histogram_quantile(0.99, sum by (le) (rate(regard_request_wait_seconds_bucket$S[5m])))"),
            ],
        ),
        ("Bytes in", "Bps", [("received", "sum(rate(regard_body_bytes_total$S[5m]))")]),
        ("Memory of bodies", "bytes", [("{{instance}}", "regard_bodies_held_bytes$S")]),
    ],
    "Networks and pictures": [
        (
            "Cores in networks",
            "none",
            [("{{network}}", "sum by (network) (rate(regard_network_seconds_sum$S[5m]))")],
        ),
        (
            "Time of a run",
            "s",
            [
                (
                    "{{network}}",
                    "sum by (network) (rate(regard_network_seconds_sum$S[5m])) / "
                    "sum by (network) (rate(regard_network_seconds_count$S[5m]))",
                )
            ],
        ),
        ("Decoded", "pixels/s", [("pixels", "sum(rate(regard_decoded_pixels_total$S[5m]))")]),
    ],
    "Galleries": [
        ("Vectors held", "none", [("{{instance}}", "regard_gallery_vectors$S")]),
        ("Memory", "bytes", [("{{instance}}", "regard_gallery_bytes$S")]),
        (
            "Catching up",
            "s",
            [
                ("seconds per second", "sum(rate(regard_gallery_catch_up_seconds_sum$S[5m]))"),
                ("times per second", "sum(rate(regard_gallery_catch_up_seconds_count$S[5m]))"),
            ],
        ),
    ],
    "Jobs": [
        ("Jobs kept", "none", [("{{kind}} {{status}}", "max by (kind, status) (regard_jobs$S)")]),
        ("Steps to take", "none", [("{{state}}", "max by (state) (regard_job_queue_tasks$S)")]),
        ("The oldest has waited", "s", [("oldest", "max(regard_job_queue_oldest_seconds$S)")]),
    ],
    "Use": [
        (
            "Denials by rule",
            "reqps",
            [("{{policy}} {{rule}}", "sum by (policy, rule) (rate(regard_denials_total$S[5m]))")],
        ),
        (
            "Audit log",
            "none",
            [
                ("records", "max(regard_audit_records$S)"),
                ("covered by a checkpoint", "max(regard_audit_checkpoint_records$S)"),
            ],
        ),
        ("Age of the last checkpoint", "s", [("age", "time() - max(regard_audit_checkpoint_timestamp_seconds$S)")]),
    ],
    "Database and process": [
        ("Database answers", "none", [("{{instance}}", "regard_database_up$S")]),
        ("Connections", "none", [("{{state}}", "sum by (state) (regard_database_connections$S)")]),
        ("Memory", "bytes", [("{{instance}}", "process_resident_memory_bytes$S")]),
        ("Cores", "none", [("{{instance}}", "rate(process_cpu_seconds_total$S[5m])")]),
        ("Open files", "none", [("{{instance}}", "process_open_fds$S")]),
    ],
}
WIDTH, HEIGHT = 24, 7


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana 10 and later import it."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    panels: list[dict[str, Any]] = []
    y = 0
    for row, row_panels in ROWS.items():
        panels.append(
            {"type": "row", "title": row, "collapsed": False, "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}}
        )
        y += 1
        width = WIDTH // len(row_panels)
        for number, (title, unit, lines) in enumerate(row_panels):
            targets = [
                {"refId": chr(65 + n), "expr": query.replace("$S", SELECTED), "legendFormat": legend}
                for n, (legend, query) in enumerate(lines)
            ]
            panels.append(
                {
                    "type": "timeseries",
                    "title": title,
                    "datasource": source,
                    "gridPos": {"x": number * width, "y": y, "w": width, "h": HEIGHT},
                    "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                    "targets": targets,
                }
            )
        y += HEIGHT
    for number, panel in enumerate(panels, 1):
        panel["id"] = number
    variables = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
        {
            "name": "instance",
            "type": "query",
            "datasource": source,
            "query": "label_values(regard_build, instance)",
            "refresh": 2,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        },
    ]
    return {
        "uid": "regard",
        "title": "Regard",
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": variables},
        "panels": panels,
    }


def text() -> str:
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
