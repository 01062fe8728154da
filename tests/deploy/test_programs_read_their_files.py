"""Files in deploy/, read by the programs they are for; a program that is not there skips its test."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import yaml
from programs import collector_with_datadog, program, run
from query_names import DEPLOY, dashboard_queries, data_sources

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.backend
PROMETHEUS = "apt-get install prometheus"


def test_prometheus_reads_its_configuration_and_rules() -> None:
    promtool = program("promtool", PROMETHEUS, required=True)
    said = run(promtool, "check", "config", "prometheus.yml", cwd=DEPLOY / "prometheus")
    assert "10 rules found" in said


def test_alerts_fire_when_they_should_and_only_then() -> None:
    promtool = program("promtool", PROMETHEUS, required=True)
    run(promtool, "test", "rules", "alerts.test.yml", cwd=DEPLOY / "prometheus")


def test_prometheus_can_parse_every_query_of_dashboards_and_links(tmp_path: Path) -> None:
    promtool = program("promtool", PROMETHEUS, required=True)
    links = data_sources()["tempo"]["jsonData"]["tracesToMetrics"]["queries"]
    queries = [query for _, query in dashboard_queries("prometheus") if not query.startswith("label_values")]
    queries += [link["query"].replace("$$__tags", 'a="b"') for link in links]
    queries = [re.sub(r"\$__(rate_interval|range|interval)", "5m", query) for query in queries]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    assert f"{len(queries)} rules found" in run(promtool, "check", "rules", str(file))


@pytest.mark.parametrize("files", [("config.yaml",), ("config.yaml", "monitor.yaml")])
def test_jaeger_takes_its_configuration(files: tuple[str, ...]) -> None:
    jaeger = program("jaeger", "set JAEGER_BIN to a Jaeger v2 (jaegertracing.io/download)")
    options = [part for file in files for part in ("--config", f"file:{DEPLOY / 'jaeger' / file}")]
    run(jaeger, "validate", *options)


@pytest.mark.parametrize(
    "files",
    [
        ("jaeger",),
        ("grafana",),
        ("grafana-cloud",),
        ("otlp",),
        ("datadog",),
        ("datadog-otlp",),
        ("grafana", "jaeger", "datadog"),
    ],
    ids="+".join,
)
def test_the_collector_takes_its_configuration(files: tuple[str, ...]) -> None:
    how = "set OTELCOL_BIN to an otelcol-contrib 0.155 or newer"
    collector = (
        collector_with_datadog() if any("datadog" in file for file in files) else program("otelcol", how)
    )
    folder = DEPLOY / "otel-collector"
    options = [f"--config=file:{folder / file}.yaml" for file in ("base", *files)]
    run(
        collector,
        "validate",
        *options,
        OTLP_ENDPOINT="https://otlp.example.com",
        OTLP_API_KEY="made-up",
        GRAFANA_CLOUD_OTLP_ENDPOINT="https://otlp.example.com/otlp",
        GRAFANA_CLOUD_AUTHORIZATION="Basic made-up",
        DD_API_KEY="0123456789abcdef0123456789abcdef",
    )


def test_loki_takes_its_configuration() -> None:
    loki = program("loki", "set LOKI_BIN to a Loki 3.7")
    run(loki, "-config.expand-env=true", f"-config.file={DEPLOY / 'loki' / 'loki.yaml'}", "-verify-config")


def test_tempo_takes_its_configuration() -> None:
    tempo = program("tempo", "set TEMPO_BIN to a Tempo 3.0")
    run(
        tempo,
        "-config.expand-env=true",
        f"-config.file={DEPLOY / 'tempo' / 'tempo.yaml'}",
        "-config.verify=true",
    )


@pytest.mark.parametrize("folder", ["base", "overlays/postgres"])
def test_kustomize_builds(folder: str) -> None:
    kubectl = program("kubectl", "install kubectl")
    made = list(yaml.safe_load_all(run(kubectl, "kustomize", str(DEPLOY / "kubernetes" / folder))))
    kinds = {each["kind"]: each for each in made}
    assert kinds["StatefulSet"]["spec"]["replicas"] == (1 if folder == "base" else 2)
    container = kinds["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"].startswith("registry.example.com/otel-bridge:")
    names = {each["configMapRef"]["name"] for each in container["envFrom"] if "configMapRef" in each}
    assert names == {kinds["ConfigMap"]["metadata"]["name"]}
    selector = kinds["Service"]["spec"]["selector"].items()
    assert selector <= kinds["StatefulSet"]["spec"]["template"]["metadata"]["labels"].items()


def test_systemd_takes_the_unit_and_finds_it_hardened(tmp_path: Path) -> None:
    analyze = program("systemd-analyze", "install systemd")
    unit = (DEPLOY / "systemd" / "otel-bridge.service").read_text()
    file = tmp_path / "otel-bridge.service"
    # What it starts is not installed here.
    file.write_text(unit.replace("/opt/otel-bridge/bin/otel-bridge", "/bin/true"))
    said = run(analyze, "verify", "--man=no", str(file))
    assert "otel-bridge.service" not in said
    said = run(analyze, "security", "--offline=true", "--threshold=20", str(file))
    assert "OK" in said.splitlines()[-1]
