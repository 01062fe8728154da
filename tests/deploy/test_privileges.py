"""What the deployment files let the bridge do on a machine: as little as it needs."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_compose_drops_what_the_bridge_does_not_need() -> None:
    bridge = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["bridge"]
    assert bridge["cap_drop"] == ["ALL"]
    assert [each.replace("=", ":") for each in bridge["security_opt"]] == ["no-new-privileges:true"]
    assert bridge["read_only"] is True
    assert "privileged" not in bridge
    assert "cap_add" not in bridge


def test_no_overlay_gives_it_back() -> None:
    for path in (ROOT / "deploy" / "compose").glob("*.yml"):
        for name, service in (yaml.safe_load(path.read_text()).get("services") or {}).items():
            assert not {"privileged", "cap_add", "pid"} & service.keys(), (path, name)
            assert service.get("network_mode", "service:bridge").startswith("service:"), (path, name)
            if name == "bridge":
                assert not {"user", "read_only", "security_opt", "cap_drop"} & service.keys(), path


def test_kubernetes_does_the_same() -> None:
    pods = [
        document["spec"]["template"]["spec"]
        for path in (ROOT / "deploy" / "kubernetes").rglob("*.yaml")
        for document in yaml.safe_load_all(path.read_text())
        if isinstance(document, dict) and document.get("kind") in {"StatefulSet", "Deployment"}
    ]
    whole = [
        pod for pod in pods if any("image" in each for each in pod.get("containers", ()))
    ]  # else a patch
    assert whole
    for pod in whole:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        # Variables of the namespace's Services look like settings.
        assert pod["enableServiceLinks"] is False
    for container in [each for pod in whole for each in pod["containers"] if each["name"] == "otel-bridge"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
