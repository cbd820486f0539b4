"""Prometheus' configuration by its own tool; rules and dashboard ask only for metrics that there are."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import Histogram, MetricWrapperBase
from prometheus_client.utils import floatToGoString

from streamproxy.metrics import Metrics
from tests.deploy.files import DEPLOY
from tests.support.processes import find_program

RULES = DEPLOY / "prometheus" / "rules.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "streamproxy.json"
# Names that Prometheus has by itself.
OWN = {"up"}
GEN_AI_LABELS = {"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_token_type"}
_NAME = re.compile(r"\b(?:streamproxy|gen_ai)[a-z_]*\b(?!:)|\bup\b")
_LABELS = re.compile(r"\bby \(([^)]*)\)")
_MATCHERS = re.compile(r"(\w+)\{([^}]*)\}")


def _promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = find_program("promtool", package="prometheus")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)


def _rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def _panels() -> Iterator[dict[str, Any]]:
    yield from json.loads(DASHBOARD.read_text())["panels"]


def _expressions() -> list[str]:
    """Every question of the rules and of the dashboard."""
    asked = [target["expr"] for panel in _panels() for target in panel.get("targets", [])]
    return [*asked, *(rule["expr"] for rule in _rules())]


_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def _instruments() -> Iterator[tuple[str, str, set[str]]]:
    """Name, kind and labels of everything that a worker counts."""
    for instrument in Metrics()._registry._collector_to_names:
        assert isinstance(instrument, MetricWrapperBase)
        yield instrument._name, instrument._type, set(instrument._labelnames)


@pytest.fixture(scope="module")
def offered() -> dict[str, set[str]]:
    """The sample names that /metrics can have, and each one's labels."""
    return {
        name + suffix: {*labels, "le", "instance", "job"} if kind == "histogram" else {*labels, "instance", "job"}
        for name, kind, labels in _instruments()
        for suffix in _SUFFIXES[kind]
    }


def test_prometheus_takes_its_configuration() -> None:
    run = _promtool("check", "config", str(DEPLOY / "prometheus" / "prometheus.yml"))
    assert run.returncode == 0, run.stdout + run.stderr


def test_prometheus_reads_every_question_of_the_dashboard(tmp_path: Path) -> None:
    """As rules, because that is what its tool checks; Grafana's variable becomes what it would be."""
    asked = [target["expr"] for panel in _panels() for target in panel.get("targets", [])]
    rules = [{"record": f"panel:{n}", "expr": e.replace("$__rate_interval", "1m")} for n, e in enumerate(asked)]
    path = tmp_path / "dashboard.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    run = _promtool("check", "rules", str(path))
    assert run.returncode == 0, run.stdout + run.stderr
    assert len(rules) > 20


def test_what_is_asked_for_is_exported(offered: dict[str, set[str]]) -> None:
    """A renamed metric would leave an empty panel, and an alert that never comes."""
    recorded = {rule["record"] for rule in _rules() if "record" in rule}
    for expression in _expressions():
        plain = expression
        for name in recorded:
            plain = plain.replace(name, "")
        names = set(_NAME.findall(re.sub(r'"[^"]*"|by \([^)]*\)', "", plain))) - GEN_AI_LABELS
        assert names <= {*offered, *OWN}, f"{expression}: {names - {*offered, *OWN}}"
        labels = {label for group in _LABELS.findall(plain) for label in re.split(r",\s*", group)}
        known = set().union(*(offered[name] for name in names if name in offered)) if names else labels
        assert labels <= known, f"{expression}: {labels - known}"
        for name, matchers in _MATCHERS.findall(plain):
            asked = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", matchers))
            assert asked <= offered.get(name, {"job", "instance"}), expression


def test_every_metric_is_in_the_operators_table() -> None:
    """And the table has none that is not exported."""
    text = (DEPLOY.parent / "docs" / "operation.md").read_text()
    told = set(re.findall(r"`((?:streamproxy|gen_ai)_[a-z_]+)", text)) - GEN_AI_LABELS
    assert told == {name + ("_total" if kind == "counter" else "") for name, kind, _ in _instruments()}


def test_every_alert_rings_on_a_bad_day_and_not_on_a_good_one() -> None:
    """Prometheus' own simulation; an alert that cannot ring would be missed here."""
    cases = Path(__file__).parent / "alerts.yml"
    run = _promtool("test", "rules", str(cases))
    assert run.returncode == 0, run.stdout + run.stderr
    bad, good = yaml.safe_load(cases.read_text())["tests"]
    alerts = {rule["alert"] for rule in _rules() if "alert" in rule}
    assert {case["alertname"] for case in bad["alert_rule_test"] if case["exp_alerts"]} == alerts
    assert {case["alertname"] for case in good["alert_rule_test"] if not case["exp_alerts"]} == alerts


def test_a_bucket_that_is_named_is_one() -> None:
    """``le`` is compared as text: "10" is nobody's bound where the bound is spelled "10.0"."""
    bounds = {
        f"{instrument._name}_bucket": {floatToGoString(bound) for bound in instrument._upper_bounds}
        for instrument in Metrics()._registry._collector_to_names
        if isinstance(instrument, Histogram)
    }
    named = [found for text in _expressions() for found in re.findall(r'(\w+)\{[^}]*le="([^"]+)"', text)]
    assert named
    for name, bound in named:
        assert bound in bounds[name], f"{name} has no bucket {bound}"


def test_alerts_say_how_bad_and_what_to_do() -> None:
    for rule in _rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"page", "ticket"}
            assert rule["annotations"].keys() == {"summary", "remedy"}


def test_panels_do_not_overlap_and_each_says_what_it_shows() -> None:
    """Twenty-four columns; ids once; a description for whoever sees it first."""
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in _panels()]
    assert len(ids) == len(set(ids))
    for panel in _panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["type"] == "row" or panel["description"]


def test_grafana_finds_its_source_and_its_dashboards() -> None:
    """The provisioned source is the one that every panel asks."""
    folder = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())["datasources"]
    sources = {panel["datasource"]["uid"] for panel in _panels() if panel["type"] != "row"}
    assert sources == {source["uid"]}
    (provider,) = yaml.safe_load((folder / "dashboards" / "streamproxy.yaml").read_text())["providers"]
    assert provider["options"]["path"] == "/etc/grafana/dashboards"
