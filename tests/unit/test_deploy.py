"""The examples in deploy/ fit the program: metrics that they name exist, rules are valid and do what they say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fileroom.archive.services import Archive
from fileroom.core.meters import Meters
from fileroom.core.settings import Settings
from fileroom.web import metrics

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "fileroom.rules.yml"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "fileroom.json").read_text())
METRIC = re.compile(r"\bfileroom_[a-z0-9_]+\b")
EXPRESSIONS = {panel["title"]: [target["expr"] for target in panel.get("targets", [])] for panel in DASHBOARD["panels"]}


def _promtool(*arguments: str | Path, folder: Path = DEPLOY) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool (Debian package prometheus)")
    result = subprocess.run(["promtool", *map(str, arguments)], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture
async def names(archive: Archive) -> set[str]:
    """Every name that /metrics can have, whether there is a number behind it now or not."""
    found: set[str] = set()
    for family in await metrics.collect(archive):
        parts = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
        found |= {family.name + part for part in parts}
    return found


async def test_every_metric_of_the_alerts_exists(names: set[str]) -> None:
    assert set(METRIC.findall(RULES.read_text())) <= names


async def test_every_metric_of_the_dashboard_exists(names: set[str]) -> None:
    asked = {name for expressions in EXPRESSIONS.values() for text in expressions for name in METRIC.findall(text)}
    assert len(asked) > 30
    assert asked <= names


async def test_nearly_every_metric_is_on_the_dashboard(names: set[str]) -> None:
    text = json.dumps(DASHBOARD)
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in names}
    left_out = {name for name in families if name not in text}
    assert left_out <= {"fileroom_patients", "fileroom_series", "fileroom_process_up"}


async def test_every_metric_stands_in_the_handbook(names: set[str]) -> None:
    text = (DEPLOY.parent / "docs" / "operating.md").read_text()
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in names} <= set(METRIC.findall(text))


def test_labels_of_the_dashboard_are_those_of_the_meters() -> None:
    meters = {meter.name: {*meter.labels, "le", "instance"} for meter in Meters().all}
    for expressions in EXPRESSIONS.values():
        for text in expressions:
            for name, inside in re.findall(r"(fileroom_[a-z_]+)\{([^}]*)\}", text):
                labels = meters.get(re.sub(r"_bucket$|_count$", "", name))
                if labels is not None:
                    assert set(re.findall(r"(\w+)=", inside)) <= labels, text


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        mine = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not mine & cells, panel["title"]
        cells |= mine


def test_expressions_of_the_dashboard_are_promql(tmp_path: Path) -> None:
    lines = ["groups:", "  - name: dashboard", "    rules:"]
    texts = [text for expressions in EXPRESSIONS.values() for text in expressions]
    for number, text in enumerate(texts):
        plain = text.replace("$__rate_interval", "5m").replace("$instance", ".*")
        lines += [f"      - record: panel:{number}", f"        expr: {json.dumps(plain)}"]
    (tmp_path / "rules.yml").write_text("\n".join(lines))
    _promtool("check", "rules", tmp_path / "rules.yml")


def test_configuration_and_rules_are_valid() -> None:
    _promtool("check", "config", "prometheus/prometheus.yml")
    _promtool("check", "rules", "prometheus/fileroom.rules.yml")


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    tested = (DEPLOY / "prometheus" / "fileroom.rules.test.yml").read_text()
    for alert in re.findall(r"alert: (\w+)", RULES.read_text()):
        assert f"alertname: {alert}" in tested, alert
    _promtool("test", "rules", "prometheus/fileroom.rules.test.yml")


def test_the_unit_names_settings_that_exist() -> None:
    unit = (DEPLOY / "systemd" / "fileroom.service").read_text()
    for name in re.findall(r"FILEROOM_([A-Z0-9_]+)=", unit):
        assert name.lower() in Settings.model_fields
    if shutil.which("systemd-analyze"):
        assert (
            "Unknown"
            not in subprocess.run(
                ["systemd-analyze", "verify", "--man=no", str(DEPLOY / "systemd" / "fileroom.service")],
                capture_output=True,
                text=True,
                check=False,
            ).stderr
        )
