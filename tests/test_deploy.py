"""What is in `deploy/` fits the program: metrics by name, settings, and what the tools that read the files say."""

import importlib.metadata
import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.process_collector import ProcessCollector

from regard import metrics
from regard.settings import Settings

DEPLOY = Path(__file__).parent.parent / "deploy"
DASHBOARD, RULES = DEPLOY / "grafana" / "regard.json", DEPLOY / "prometheus" / "regard.rules.yml"
KUBERAY = DEPLOY / "kuberay" / "regard.yaml"
NAME = re.compile(r"\b(?:regard|process)_\w+")
OURS = [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]


def families() -> dict[str, set[str]]:
    """The names of the samples of each of our metrics, by its name."""
    suffixes = {"counter": {"_total"}, "gauge": {""}, "summary": {"_sum", "_count"}}
    histogram = {"_sum", "_count", "_bucket"}
    return {
        family.name: {family.name + suffix for suffix in suffixes.get(family.type, histogram)}
        for metric in OURS
        for family in metric.describe()
    }


def exported() -> set[str]:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    process = {sample.name for family in registry.collect() for sample in family.samples}
    return process.union(*families().values())


def queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def alerts() -> list[dict[str, str]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_the_dashboard_is_fresh() -> None:
    assert DASHBOARD.read_text() == runpy.run_path(str(DEPLOY / "grafana" / "make.py"))["text"]()


def test_grafanas_own_types_know_all_that_is_in_the_dashboard() -> None:
    """They leave out what they do not know."""
    register_default_plugins()
    written = json.loads(DASHBOARD.read_text())
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(written)))
    assert contained(written, read) == written


def contained(one: Any, another: Any) -> Any:
    """What of `one` is in `another`, member by member."""
    match one, another:
        case dict(), dict():
            return {name: contained(value, another[name]) for name, value in one.items() if name in another}
        case list(), list() if len(one) == len(another):
            return [contained(*pair) for pair in zip(one, another, strict=True)]
        case _:
            return another


@pytest.mark.parametrize("query", [*queries(), *(alert["expr"] for alert in alerts())])
def test_queries_ask_for_what_is_exported(query: str) -> None:
    names = set(NAME.findall(query))
    assert names
    assert names <= exported()
    assert query.count("(") == query.count(")")


def test_the_dashboard_shows_every_metric() -> None:
    shown = set(NAME.findall(" ".join(queries())))
    assert [name for name, samples in families().items() if not samples & shown] == []


def test_every_metric_and_every_alert_is_in_the_docs() -> None:
    page = (DEPLOY.parent / "docs" / "monitoring.md").read_text()
    assert [name for name in families() if name not in page] == []
    assert [alert["alert"] for alert in alerts() if alert["alert"] not in page] == []


def test_no_label_stands_for_somebody() -> None:
    labels = {label for metric in OURS for label in metric._labelnames}
    assert labels == {"operation", "code", "cause", "network", "policy", "rule", "state", "kind", "status", "version"}


@pytest.mark.parametrize("file", ["Containerfile", "regard.service"])
def test_settings_that_are_named_exist(file: str) -> None:
    named = set(re.findall(r"REGARD_([A-Z0-9_]+)=", (DEPLOY / file).read_text())) - {"NAME"}
    assert named
    assert {name.lower() for name in named} <= Settings.model_fields.keys()


def test_the_container_has_what_it_copies_and_runs_as_nobody_special() -> None:
    lines = re.sub(r"\\\n", " ", (DEPLOY / "Containerfile").read_text()).splitlines()
    instructions = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    root = DEPLOY.parent
    for name, *words in instructions:
        if name == "COPY" and not words[0].startswith("--"):
            assert all((root / source).exists() for source in words[:-1]), words
    after_last_stage = instructions[max(i for i, words in enumerate(instructions) if words[0] == "FROM") :]
    assert ["USER", "10001:10001"] in after_last_stage
    assert {"HEALTHCHECK", "VOLUME", "ENTRYPOINT"} <= {words[0] for words in after_last_stage}


def test_kubernetes_takes_the_objects() -> None:
    cluster, *others = yaml.safe_load_all(KUBERAY.read_text())
    groups = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    pods = [{"apiVersion": "v1", "kind": "Pod", **group["template"]} for group in groups]
    for described in [*others, *pods]:
        kubernetes_validate.validate(described, kubernetes_validate.latest_version(), strict=True)


def test_kuberay_takes_the_cluster() -> None:
    """Its operator's own types (ray-operator/apis/ray/v1/raycluster_types.go), as far as the file has them."""
    cluster = next(yaml.safe_load_all(KUBERAY.read_text()))
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    spec = cluster["spec"]
    assert spec.keys() == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    assert spec["headGroupSpec"].keys() == {"rayStartParams", "template"}
    for group in spec["workerGroupSpecs"]:
        assert group.keys() == {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    started = [group["rayStartParams"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]
    assert all(isinstance(value, str) for parameters in started for value in parameters.values())
    assert spec["rayVersion"] == importlib.metadata.version("ray")


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not here")
    unit = (DEPLOY / "regard.service").read_text().replace("/opt/regard/bin/regard", sys.executable)
    (tmp_path / "regard.service").write_text(unit)
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(tmp_path / "regard.service")],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_LOG_LEVEL": "info"},
    )
    complaints = [line for line in checked.stderr.splitlines() if "regard.service" in line]
    assert (checked.returncode, complaints) == (0, [])
