"""The compose files: pinned, bounded, on loopback; every setting reaches the bridge."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from docker_engine import BASE, JAEGER, NO_ENV, environment

from otel_bridge import __version__
from otel_bridge.exporter.destination import Signal
from otel_bridge.network.proxy import proxy_for
from otel_bridge.settings import load, unknown_variables, variables
from otel_bridge.settings.model import OtlpSettings

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "docker-compose.yml", *sorted((ROOT / "deploy" / "compose").glob("*.yml"))]
OVERLAYS = [path.stem for path in FILES[1:]]
# Compose's own, or the image's: no value of the shell's is to reach the container.
FIXED = {"OTEL_BRIDGE_STATE", "OTEL_BRIDGE_STATE_FILE", "OTEL_BRIDGE_LISTEN"}
# A shell's is a path on its own machine, and would take all authorities from the container.
MOUNTED = {"SSL_CERT_FILE", "SSL_CERT_DIR"}
# In docs/settings.md as variables that do nothing.
IDLE = {"OTEL_BRIDGE_PORT", "OTEL_BRIDGE_TAG", "OTEL_ATTRIBUTE_COUNT_LIMIT"}
# In docs/settings.md, and no variables.
VALUES = {"NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT"}


def read(path: Path) -> dict[str, Any]:
    found = yaml.safe_load(path.read_text())
    assert isinstance(found, dict)
    return found


def services() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{path.name}: {name}", service)
        for path in FILES
        for name, service in (read(path).get("services") or {}).items()
    ]


def image_of(service: dict[str, Any]) -> str:
    """As it is named where nothing is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", service.get("image", ""))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_old_compose_can_read_it(path: Path) -> None:
    assert set(read(path)) <= {"services", "volumes"}


@pytest.mark.parametrize(("where", "service"), services())
def test_images_are_pinned_and_containers_bounded(where: str, service: dict[str, Any]) -> None:
    image = image_of(service)
    if image and not image.startswith("otel-bridge"):
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+(\.\d+)?(-\w+)?", image), where
    if image and (
        where.startswith("docker-compose") or not where.endswith(": bridge")
    ):  # an overlay adds to it
        assert service["mem_limit"]
        assert service["cpus"]
        assert service["pids_limit"]
        # A reboot brings back what is "unless-stopped"; the bridge's own way is service.sh's.
        assert service["restart"] == ("on-failure" if where.endswith(": bridge") else "unless-stopped")
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:"), where


def test_what_is_not_pulled_is_built_by_the_service_that_runs_it() -> None:
    built: dict[str, set[str]] = {}
    for where, service in services():
        image = service.get("image", "")
        if image.startswith("otel-bridge"):
            # On a machine that has nothing yet, what another service is to build is not there in time.
            assert "build" in service, where
            built.setdefault(image, set()).add(where)
    # Two builds of one name at the same time get in each other's way.
    assert all(len(by) == 1 for by in built.values()), built


def test_one_service_is_the_same_in_every_file() -> None:
    by_name: dict[str, set[str]] = {}
    for path in FILES:
        for name, service in read(path)["services"].items():
            if "image" in service and name != "bridge":
                by_name.setdefault(name, set()).add(image_of(service))
    assert all(len(images) == 1 for images in by_name.values()), by_name
    assert by_name["jaeger"] == {JAEGER}


def test_every_setting_of_the_environment_reaches_the_bridge() -> None:
    passed = set(read(FILES[0])["services"]["bridge"]["environment"])
    settings = {variable for _, variable, _ in variables()}
    known = {name for each in settings for name in (each.name, each.file_name) if name}
    known |= {
        f"OTEL_EXPORTER_OTLP_{signal}{name.upper()}"
        for signal in ("", *(f"{each.value.upper()}_" for each in Signal))
        for name in OtlpSettings.model_fields
    }
    # What stands outside of its tables.
    known |= set(re.findall(r"`([A-Z]+_[A-Z_]+)`", (ROOT / "docs" / "settings.md").read_text())) - VALUES
    missing = known - passed - FIXED - MOUNTED - IDLE
    assert not passed & MOUNTED
    assert not missing, f"docker-compose.yml passes on no {sorted(missing)}"


@pytest.mark.parametrize("given", [{}, {"NO_PROXY": "a.example"}, {"no_proxy": "b.example"}], ids=str)
@pytest.mark.parametrize("proxy", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_is_not_asked_for_what_is_in_these_containers(
    given: dict[str, str], proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(proxy, "http://proxy.example:3128")
    environment = read(FILES[0])["services"]["bridge"]["environment"]
    for name in ("NO_PROXY", "no_proxy"):
        text = re.sub(r"\$\{(\w+):-(\w+)\}", lambda of: given.get(of[1], of[2]), environment[name])
        monkeypatch.setenv(name, text)
    urls = re.findall(r"http://[\w.-]+:\d+", "".join(path.read_text() for path in FILES))
    inside = {urlsplit(url).hostname for url in urls} - {"bridge"}
    assert inside >= {"jaeger", "otel-collector", "emulator", "localhost", "127.0.0.1"}
    for host in inside | set(given.values()):
        assert proxy_for(f"http://{host}:4318") is None, host
    assert proxy_for("http://elsewhere.example")


def test_what_the_bridge_is_given_are_settings() -> None:
    for where, service in services():
        if where.endswith(": bridge"):
            assert not unknown_variables(dict.fromkeys(service.get("environment", {}), "x")), where


def test_the_example_of_an_env_file_is_valid(tmp_path: Path) -> None:
    lines = [line.lstrip("#") for line in (ROOT / ".env.example").read_text().splitlines()]
    values = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))
    used = "".join(path.read_text() for path in FILES)
    for name in values:
        assert re.search(rf"\b{name}\b", used), f"{name} is in .env.example, and no compose file reads it"
    values["COMPOSIO_API_KEY"] = "ak_example"
    values["OTEL_BRIDGE_STATE"] = f"sqlite:///{tmp_path}/ledger.db"
    load(None, {name: value for name, value in values.items() if not name.endswith("_PORT")})


def test_the_example_shows_every_value_of_the_compose_files_and_defaults_as_they_are() -> None:
    shown = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    settings = {variable.name: field.default for _, variable, field in variables() if variable.name}
    filled = {
        name: default
        for path in FILES
        for name, default in re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", path.read_text())
    }
    wanted = {name: default for name, default in filled.items() if name not in settings}
    del wanted["OTEL_EXPORTER_OTLP_ENDPOINT"]
    assert {name: shown.get(name) for name in wanted} == wanted
    for name in shown.keys() & settings.keys():
        assert shown[name] == filled.get(name, str(settings[name] or "")), name


# All of them together stand for every pair: an entry that two files give alike is refused by compose 2.
@pytest.mark.parametrize("overlays", [(), *((name,) for name in OVERLAYS), tuple(OVERLAYS)], ids="+".join)
@pytest.mark.parametrize("command", [["docker", "compose"], ["docker-compose"]], ids=" ".join)
def test_compose_reads_them(command: list[str], overlays: tuple[str, ...]) -> None:
    if (
        shutil.which(command[0]) is None
        or subprocess.run([*command, "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip(f"{' '.join(command)} is not there: install Docker's compose")
    files = ["-f", "docker-compose.yml"]
    for overlay in overlays:
        files += ["-f", f"deploy/compose/{overlay}.yml"]
    done = subprocess.run(
        [*command, "--env-file", NO_ENV, *files, "config"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=environment(COMPOSIO_API_KEY="ak_from_the_shell", DD_API_KEY="dd_made_up"),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = yaml.safe_load(done.stdout)["services"]
    key = made["bridge"]["environment"]["COMPOSIO_API_KEY"]
    assert key == ("ak_demo" if "demo" in overlays else "ak_from_the_shell")
    # A demo's ledger, or its traces, must not be taken up by the one who then puts in a key.
    for name, folder in (("bridge", "/var/lib/otel-bridge"), ("jaeger", "/tmp")):  # noqa: S108 - in the container
        (kept,) = [each for each in map(source_and_target, made[name]["volumes"]) if each[1] == folder]
        assert kept[0].startswith("demo-") == ("demo" in overlays)
    # What is in neither .env nor the shell stays unset, so that the default holds.
    for name in ("OTEL_BRIDGE_START", "HTTPS_PROXY", "COMPOSIO_API_KEY_FILE"):
        assert not made["bridge"]["environment"].get(name), name


def test_the_demo_gives_other_names_to_volumes_of_an_account() -> None:
    theirs = read(ROOT / "deploy" / "compose" / "demo.yml")["volumes"]
    names = [theirs[name]["name"] for name in read(ROOT / "docker-compose.yml")["volumes"]]
    assert all(name.startswith("otel-bridge-demo-") for name in names)
    assert len(set(names)) == len(names)


def source_and_target(volume: str | dict[str, str]) -> tuple[str, str]:
    """Of a mount as either version of compose prints it."""
    if isinstance(volume, dict):
        return volume["source"], volume["target"]
    source, target, *_ = volume.split(":")
    return source, target


def test_the_image_is_made_as_it_is_tested() -> None:
    for path in (ROOT / "Dockerfile", ROOT / "deploy" / "demo" / "Dockerfile"):
        assert f"ARG PYTHON_IMAGE={BASE}\n" in path.read_text()
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"ARG VERSION={__version__}\n" in dockerfile
    assert "--mount" not in dockerfile, "BuildKit is not required"
    assert re.findall(r"^USER (\S+)", dockerfile, re.MULTILINE) == ["10001:10001"]


def test_a_mirror_reaches_whatever_installs_and_stays_in_no_container() -> None:
    for path in (ROOT / "Dockerfile", ROOT / "deploy" / "demo" / "Dockerfile"):
        for stage in re.split(r"^FROM ", path.read_text(), flags=re.MULTILINE)[1:]:
            before, _, steps = stage.partition("\nRUN ")
            if "pip " in steps:
                assert "\nARG PIP_INDEX_URL\n" in f"{before}\n", path
            if "/uv pip install" in steps:
                assert "\nARG UV_DEFAULT_INDEX=${PIP_INDEX_URL}\n" in f"{before}\n", path
            assert not re.search(r"^ENV .*INDEX", stage, re.MULTILINE)
    built = [each["build"] for where, each in services() if "build" in each and "postgres" not in where]
    arguments = {"PYTHON_IMAGE": f"${{PYTHON_IMAGE:-{BASE}}}", "PIP_INDEX_URL": "${PIP_INDEX_URL:-}"}
    assert [build["args"] for build in built] == [arguments] * 3
