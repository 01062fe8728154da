"""The Collector's files: nothing is lost through an outage, memory is bounded, every name leads somewhere."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from query_names import DEPLOY

from otel_bridge.mapping.conventions import SCOPE_NAME

FOLDER = DEPLOY / "otel-collector"
DESTINATIONS = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != "base")


def merged(destination: str) -> dict[str, Any]:
    """``base.yaml`` and a destination's file, as the Collector merges maps."""
    base, own = (yaml.safe_load((FOLDER / f"{name}.yaml").read_text()) for name in ("base", destination))

    def merge(one: Any, other: Any) -> Any:
        if isinstance(one, dict) and isinstance(other, dict):
            return {key: merge(one.get(key), other.get(key, one.get(key))) for key in {**one, **other}}
        return other if other is not None else one

    whole = merge(base, own)
    assert isinstance(whole, dict)
    return whole


@pytest.mark.parametrize("destination", DESTINATIONS)
def test_every_name_in_a_pipeline_is_configured_and_every_part_is_used(destination: str) -> None:
    whole = merged(destination)
    connectors = set(whole.get("connectors", {}))
    used: dict[str, set[str]] = {"receivers": set(), "processors": set(), "exporters": set()}
    for pipeline in whole["service"]["pipelines"].values():
        for kind, names in used.items():
            names.update(pipeline[kind])
    assert used["receivers"] - connectors == set(whole["receivers"])
    assert used["exporters"] - connectors == set(whole["exporters"])
    assert used["processors"] == set(whole["processors"])
    assert connectors <= used["receivers"] & used["exporters"]
    assert set(whole["service"]["extensions"]) == set(whole["extensions"])


@pytest.mark.parametrize("destination", DESTINATIONS)
def test_what_was_acknowledged_survives_an_outage_and_a_restart(destination: str) -> None:
    whole = merged(destination)
    for name, exporter in whole["exporters"].items():
        queue = exporter["sending_queue"]
        assert queue["enabled"] is True, name
        assert queue["storage"] == "file_storage"
        # 0 is for ever.
        assert exporter["retry_on_failure"] == {"enabled": True, "max_elapsed_time": "0s"}
    for name, pipeline in whole["service"]["pipelines"].items():
        # The limiter refuses before anything is done; batches are of what is sent.
        assert pipeline["processors"][0] == "memory_limiter", name
        assert pipeline["processors"][-1] == "batch", name


def test_destinations_can_be_combined() -> None:
    exporters: list[str] = []
    pipelines: list[str] = []
    for destination in DESTINATIONS:
        own = yaml.safe_load((FOLDER / f"{destination}.yaml").read_text())
        exporters += own["exporters"]
        pipelines += own["service"]["pipelines"]
    assert len(set(exporters)) == len(exporters)
    assert len(set(pipelines)) == len(pipelines)


def test_datadog_gets_one_operation_that_counts_every_call_of_the_bridge_and_of_nothing_else() -> None:
    parts = yaml.safe_load((FOLDER / "datadog.yaml").read_text())
    processor = parts["processors"]["attributes/datadog"]
    assert processor["include"] == {"match_type": "strict", "libraries": [{"name": SCOPE_NAME}]}
    assert {each["key"] for each in processor["actions"]} == {"operation.name", "_dd.measured"}
    # Naming by the span makes an operation of each tool, and another one than statistics have.
    assert "traces" not in parts["exporters"]["datadog"]


def test_no_file_holds_a_key() -> None:
    for path in FOLDER.glob("*.yaml"):
        for line in path.read_text().splitlines():
            if any(word in line for word in ("key:", "authorization:", "api-key:")) and "${env:" not in line:
                # The key of an attribute, and what to do about a key, are none.
                plain = "action: insert" in line or "fail_on_invalid_key" in line
                assert line.lstrip().startswith("#") or plain, f"{path.name}: {line}"
