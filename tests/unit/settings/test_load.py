"""What a person sets is what the bridge does, and what is wrong is said in one line."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from otel_bridge.errors import SettingsError
from otel_bridge.exporter.destination import Protocol, Signal
from otel_bridge.settings import SettingsModel, as_yaml, load, schema, unknown_variables, variables

Write = Callable[[str], Path]
KEY = "ak_very_secret_key"
ROOT = Path(__file__).parents[3]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(text: str) -> Path:
        path = tmp_path / "bridge.yaml"
        path.write_text(text)
        return path

    return put


def test_the_environment_alone_is_enough_for_one_project() -> None:
    settings = load(environ={"COMPOSIO_API_KEY": KEY, "OTEL_BRIDGE_START": "36h"})
    (project,) = settings.projects
    assert (project.name, project.base_url) == ("default", "https://backend.composio.dev")
    assert project.api_key is not None
    assert project.api_key.get_secret_value() == KEY
    assert settings.collect.start == "36h"


def test_the_defaults_are_the_documented_ones() -> None:
    settings = load(environ={})
    assert settings.collect.poll_interval == "auto"
    assert settings.collect.recheck == (30_000, 120_000, 600_000, 3_600_000)
    assert (settings.collect.rate_share, settings.collect.concurrency) == (0.5, "auto")
    assert settings.http.listen == "127.0.0.1:8790"
    assert settings.ledger.state.get_secret_value().startswith("sqlite:///")
    assert settings.destination(Signal.TRACES).endpoint == "http://localhost:4318/v1/traces"
    assert settings.signals == {Signal.TRACES, Signal.LOGS, Signal.METRICS}
    assert not settings.signals_were_chosen


def test_the_file_comes_first_and_the_environment_fills_in(write: Write) -> None:
    path = write(
        """
        projects:
          - {name: shop, api_key: "${env:SHOP_KEY}", resource: {team: shop}}
          - {name: desk, filters: [{field: toolkit_slug, operator: "==", value: gmail}]}
        collect: {poll_interval: 10s}
        mapping: {redact: [iban, "x-*"]}
        """
    )
    environ = {
        "SHOP_KEY": "ak_shop",
        "COMPOSIO_API_KEY": KEY,
        "OTEL_BRIDGE_POLL_INTERVAL": "1s",
        "OTEL_BRIDGE_CONCURRENCY": "4",
    }
    settings = load(path, environ)
    shop, desk = settings.projects
    assert shop.api_key is not None
    assert desk.api_key is not None
    assert (shop.api_key.get_secret_value(), desk.api_key.get_secret_value()) == ("ak_shop", KEY)
    assert desk.filters[0].value == "gmail"
    assert (settings.collect.poll_interval, settings.collect.concurrency) == (10_000, 4)
    assert settings.mapping.redact == ("iban", "x-*")


def test_times_in_the_file_need_no_quotes(write: Write) -> None:
    settings = load(write("collect: {start: 2026-04-17T10:00:00Z}"), {})
    assert settings.collect.start == "2026-04-17T10:00:00Z"


def test_a_key_can_come_from_a_mounted_file(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text(KEY + "\n")
    (project,) = load(environ={"COMPOSIO_API_KEY_FILE": str(secret)}).projects
    assert project.api_key is not None
    assert project.api_key.get_secret_value() == KEY


def test_a_key_is_known_by_the_place_it_comes_from(write: Write, tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text(KEY)
    variable = {"COMPOSIO_API_KEY": KEY}
    mounted = {"COMPOSIO_API_KEY": " ", "COMPOSIO_API_KEY_FILE": str(secret)}
    assert load(environ=variable).projects[0].key_from == "COMPOSIO_API_KEY"
    assert load(environ=variable | {"COMPOSIO_API_KEY_FILE": "x"}).projects[0].key_from == "COMPOSIO_API_KEY"
    assert load(environ=mounted).projects[0].key_from == f"COMPOSIO_API_KEY_FILE ({secret})"
    assert load(write("collect: {start: 1h}"), variable).projects[0].key_from == "COMPOSIO_API_KEY"
    path = write(
        f"""
        projects:
          - {{name: plain, api_key: {KEY}}}
          - {{name: variable, api_key: "${{env:SHOP_KEY}}"}}
          - {{name: mounted, api_key: "${{file:{secret}}}"}}
          - {{name: mixed, api_key: "ak_${{env:SHOP_KEY}}"}}
          - {{name: none}}
        """
    )
    places = {each.name: each.key_from for each in load(path, {"SHOP_KEY": KEY, **mounted}).projects}
    assert places == {
        "plain": f"{path}: projects.0.api_key",
        "variable": f"{path}: projects.1.api_key (${{env:SHOP_KEY}})",
        "mounted": f"{path}: projects.2.api_key (${{file:{secret}}})",
        "mixed": f"{path}: projects.3.api_key",
        "none": f"COMPOSIO_API_KEY_FILE ({secret})",
    }


def test_otlp_settings_of_the_file_come_before_the_variables(write: Write) -> None:
    path = write(
        "export: {endpoint: 'http://127.0.0.1:4317', protocol: grpc, timeout: 500, headers: {api-key: 'a b'},"
        " logs: {endpoint: 'http://127.0.0.1:3100/otlp/v1/logs', protocol: http/protobuf}}"
    )
    settings = load(path, {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"})
    traces, logs = settings.destination(Signal.TRACES), settings.destination(Signal.LOGS)
    assert (traces.protocol, traces.timeout_ms, dict(traces.headers)) == (
        Protocol.GRPC,
        500,
        {"api-key": "a b"},
    )
    assert (logs.protocol, logs.endpoint) == (Protocol.HTTP, "http://127.0.0.1:3100/otlp/v1/logs")


def test_resource_attributes_never_hold_what_would_make_deliveries_differ() -> None:
    text = "deployment.environment.name=prod,service.instance.id=1,service.name=x,team=a%20b"
    settings = load(environ={"OTEL_RESOURCE_ATTRIBUTES": text})
    assert settings.mapping.resource == {"deployment.environment.name": "prod", "team": "a b"}


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"OTEL_BRIDGE_POLL_INTERVAL": "soon"}, ["OTEL_BRIDGE_POLL_INTERVAL", "'soon'", "5s"]),
        ({"OTEL_BRIDGE_POLL_INTERVAL": "0s"}, ["OTEL_BRIDGE_POLL_INTERVAL", "'0s'"]),
        ({"OTEL_BRIDGE_RATE_SHARE": "0"}, ["OTEL_BRIDGE_RATE_SHARE", "'0'", "above 0"]),
        ({"OTEL_BRIDGE_RATE_SHARE": "1.5"}, ["OTEL_BRIDGE_RATE_SHARE", "at most 1"]),
        ({"OTEL_BRIDGE_CONCURRENCY": "0"}, ["OTEL_BRIDGE_CONCURRENCY", "1 to 256"]),
        ({"OTEL_BRIDGE_RECHECK": "2m,30s"}, ["OTEL_BRIDGE_RECHECK", "ages that rise"]),
        ({"OTEL_BRIDGE_START": "yesterday"}, ["OTEL_BRIDGE_START", "'yesterday'", "36h"]),
        ({"OTEL_BRIDGE_SAMPLE": "-1"}, ["OTEL_BRIDGE_SAMPLE", "0 to 1"]),
        ({"OTEL_BRIDGE_DETAIL": "some"}, ["OTEL_BRIDGE_DETAIL", "all, failed or none"]),
        (
            {"OTEL_BRIDGE_SIGNALS": "traces,spans"},
            ["OTEL_BRIDGE_SIGNALS", "'spans'", "traces, logs, metrics"],
        ),
        ({"OTEL_BRIDGE_SPAN_KIND": "producer"}, ["OTEL_BRIDGE_SPAN_KIND", "internal, client or server"]),
        ({"OTEL_BRIDGE_HOSTS": "localhost:8790"}, ["OTEL_BRIDGE_HOSTS", "without a port"]),
        ({"OTEL_BRIDGE_HOSTS": "localhost bridge"}, ["OTEL_BRIDGE_HOSTS", "joined by commas"]),
        ({"OTEL_BRIDGE_LISTEN": "8790"}, ["OTEL_BRIDGE_LISTEN", "127.0.0.1:8790"]),
        ({"OTEL_BRIDGE_LOG_LEVEL": "loud"}, ["OTEL_BRIDGE_LOG_LEVEL", "debug"]),
        (
            {"COMPOSIO_BASE_URL": "http://example.com"},
            ["COMPOSIO_BASE_URL", "https", "OTEL_BRIDGE_ALLOW_HTTP"],
        ),
        ({"COMPOSIO_BASE_URL": "backend"}, ["COMPOSIO_BASE_URL", "https"]),
        ({"COMPOSIO_BASE_URL": "http://127.0.0.1:99999"}, ["COMPOSIO_BASE_URL"]),
        (
            {"COMPOSIO_API_KEY_FILE": "/nowhere/key"},
            ["COMPOSIO_API_KEY_FILE", "/nowhere/key", "No such file"],
        ),
        ({"OTEL_RESOURCE_ATTRIBUTES": "novalue"}, ["OTEL_RESOURCE_ATTRIBUTES", "key=value"]),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, ["OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "grpc"]),
        (
            {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true"},
            ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "NO_CONTENT"],
        ),
    ],
)
def test_a_wrong_variable_is_named_with_its_value_and_what_it_takes(
    environ: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(environ=environ)
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colect: {start: 1h}", ["colect", "did you mean collect?"]),
        ("collect: {pol_interval: 1s}", ["collect.pol_interval", "did you mean poll_interval?"]),
        ("collect: {poll_interval: 5}", ["collect.poll_interval", "is 5", "such as 5s"]),
        ("projects: [{name: a}, {name: a}]", ["two projects are named 'a'"]),
        ("projects: []", ["projects is an empty list: takes a list of one project or more"]),
        ("projects: {name: a}", ["projects is a mapping: takes a list of one project or more"]),
        ("projects: [shop]", ["projects.0 is 'shop': takes a mapping"]),
        ("projects: [{name: ' '}]", ["projects.0.name is '': takes a name"]),
        ('projects: [{name: "a\\nb"}]', ["projects.0.name", "takes a name"]),
        ("projects: [{name: a, filters: [{field: user_id, operator: '==', value: 5}]}]", ["takes text"]),
        ("collect: 5", ["collect is 5: takes a mapping"]),
        ("collect: {rate_share: true}", ["collect.rate_share is true: takes a number above 0"]),
        ("collect: {concurrency: true}", ["collect.concurrency is true: takes auto or a number from 1"]),
        ("collect: {concurrency: 4.0}", ["collect.concurrency is 4.0"]),
        ("collect: {concurrency: '1_0'}", ["collect.concurrency is '1_0'"]),
        ("mapping: {sample: '1_0'}", ["mapping.sample is '1_0'"]),
        ("mapping: {sample: .nan}", ["mapping.sample is nan"]),
        ("mapping: {service_name: 'x-{tool}'}", ["mapping.service_name", "{toolkit} and {project}"]),
        ("export: {traces: }", ["export.traces is empty: takes a mapping"]),
        ("export: {headers: {a: [1]}}", ["export.headers is a value that is not shown"]),
        ("export: {endpoint: 'ftp://x'}", ["export.endpoint is 'ftp://x': takes a URL"]),
        ("export: {traces: {protocol: carrier}}", ["export.traces.protocol is 'carrier': takes grpc or"]),
        ("export: {logs: {certificate: /nowhere}}", ["export.logs.certificate is '/nowhere'"]),
        ("export: {headers: xyz}", ["export.headers can't be read"]),
        ("ledger: {state: 'mysql://h'}", ["ledger.state is 'mysql://h'"]),
        ("a: {<<: {b: 1}}", ["line 1, column 5", "'<<' is not taken"]),
        ("a: &a [*a]", ["line 1, column 4", "recursive"]),
        ("? {a: secret}\n: 1", ["is no text"]),
        ("projects: [{name: a, filters: [{field: colour, operator: '==', value: x}]}]", ["filters.0.field"]),
        ("projects: [{name: a, filtres: []}]", ["projects.0.filtres", "did you mean filters?"]),
        ("projects: [{name: a, api_key: '${env:NO_SUCH}'}]", ["projects.0.api_key", "NO_SUCH", "not set"]),
        ("projects: [{name: a, api_key: '${file:/nowhere/k}'}]", ["projects.0.api_key", "/nowhere/k"]),
        ("mapping: {service_name: '${vault:x}'}", ["${vault:x}", "${env:NAME}"]),
        ("collect: {start: 1h", ["line", "not valid YAML"]),
        ("collect:\n  start: 1h\n  start: 2h", ["'start'", "twice", "line 3"]),
        ("- a", ["a list", "takes a mapping"]),
        ("1: a", ["1", "no text"]),
        ("collect: {start: !!python/object:os.system x}", ["not valid YAML"]),
    ],
)
def test_a_wrong_file_is_named_with_the_place(write: Write, text: str, words: list[str]) -> None:
    path = write(text)
    with pytest.raises(SettingsError) as caught:
        load(path, {})
    line = str(caught.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    for word in words:
        assert word in line


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load(tmp_path / "none.yaml", {})
    with pytest.raises(SettingsError, match="directory"):
        load(tmp_path, {})
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load(binary, {})
    binary.write_bytes(b"a" * 1_000_001)
    with pytest.raises(SettingsError, match="larger than"):
        load(binary, {})
    binary.write_bytes(b"[" * 100_000)
    with pytest.raises(SettingsError, match=r"nested too deeply|not valid YAML"):
        load(binary, {})


def test_a_file_of_aliases_is_bounded(write: Write) -> None:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    for before, name in itertools.pairwise("abcdefghi"):
        lines.append(f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]")
    began_s = time.monotonic()
    with pytest.raises(SettingsError, match=r"more than 20,000 values once its aliases"):
        load(write("\n".join(lines)), {})
    assert time.monotonic() - began_s < 5
    deep = "a: " + "{a: " * 40 + "1" + "}" * 40
    with pytest.raises(SettingsError, match="nested too deeply"):
        load(write(deep), {})


def test_an_alias_stands_for_a_value(write: Write) -> None:
    path = write("projects: [{name: a, resource: &r {team: x}}, {name: b, resource: *r}]")
    assert [project.resource for project in load(path, {}).projects] == [{"team": "x"}] * 2


def test_a_section_without_lines_leaves_all_to_the_environment(write: Write) -> None:
    path = write("collect:\n#  concurrency: 5\nprojects:\nhttp: {listen: }\n")
    settings = load(path, {"OTEL_BRIDGE_CONCURRENCY": "3", "COMPOSIO_API_KEY": KEY})
    assert (settings.collect.concurrency, settings.http.listen) == (3, "")
    assert settings.projects[0].api_key is not None


def test_an_address_of_the_environment_is_named_by_its_variable(write: Write) -> None:
    with pytest.raises(SettingsError, match=r"^OTEL_EXPORTER_OTLP_ENDPOINT is 'ftp://x'"):
        load(write("export: {timeout: 500}"), {"OTEL_EXPORTER_OTLP_ENDPOINT": "ftp://x"})
    with pytest.raises(SettingsError, match=r"^OTEL_BRIDGE_STATE is 'mysql://h'"):
        load(write("ledger: {keep: 1d}"), {"OTEL_BRIDGE_STATE": "mysql://h"})


def test_headers_may_be_numbers(write: Write) -> None:
    settings = load(write("export: {headers: {X-Scope-OrgID: 1}}"), {})
    assert settings.destination(Signal.TRACES).headers == (("X-Scope-OrgID", "1"),)


def test_an_empty_file_leaves_everything_to_the_environment(write: Write) -> None:
    assert load(write(""), {"OTEL_BRIDGE_CONCURRENCY": "3"}).collect.concurrency == 3


def test_empty_means_unset_but_turns_endpoints_and_rechecks_off() -> None:
    settings = load(environ={"OTEL_BRIDGE_LISTEN": "", "OTEL_BRIDGE_RECHECK": "", "OTEL_BRIDGE_SAMPLE": ""})
    assert (settings.http.listen, settings.collect.recheck, settings.mapping.sample) == ("", (), 1.0)


def test_plain_http_beyond_loopback_only_where_a_person_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BRIDGE_ALLOW_HTTP", "true")
    assert load(environ={"COMPOSIO_BASE_URL": "http://composio.internal/"}).projects[0].base_url == (
        "http://composio.internal"
    )


def test_no_secret_is_ever_shown(write: Write) -> None:
    path = write(
        "projects: [{name: a, api_key: ak_file_secret}]\n"
        "export: {headers: {dd-api-key: hidden1}}\n"
        "http: {token: hidden2}\n"
    )
    settings = load(path, {"OTEL_EXPORTER_OTLP_HEADERS": "x=hidden4"})
    for shown in (as_yaml(settings), repr(settings), str(settings), repr(settings.destination(Signal.LOGS))):
        for secret in ("ak_file_secret", "hidden1", "hidden2", "hidden4"):
            assert secret not in shown


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_BRIDGE_STATE": "mysql://me:hidden3@127.0.0.1/db"},
        {"COMPOSIO_BASE_URL": "https://me:hidden3@example.com"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "ftp://me:hidden3@example.com"},
    ],
)
def test_no_secret_of_an_address_is_repeated(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load(environ=environ)
    assert "hidden3" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql://me:hidden5@h/d", "postgresql://h/d?password=hidden5"])
def test_no_password_of_the_ledger_is_shown(url: str) -> None:
    try:
        settings = load(environ={"OTEL_BRIDGE_STATE": url})
    except SettingsError as error:  # where the packages for PostgreSQL are not installed
        assert "hidden5" not in str(error)  # noqa: PT017 - either outcome is right
        return
    assert "hidden5" not in as_yaml(settings) + repr(settings)


def test_two_projects_never_share_the_key_of_the_environment(write: Write) -> None:
    settings = load(write("projects: [{name: a}, {name: b}]"), {"COMPOSIO_API_KEY": KEY})
    assert [project.api_key for project in settings.projects] == [None, None]


def test_a_secret_file_is_a_small_file(tmp_path: Path) -> None:
    for name in (str(tmp_path), "/dev/zero"):
        with pytest.raises(SettingsError, match="is no file"):
            load(environ={"COMPOSIO_API_KEY_FILE": name})
    large = tmp_path / "large"
    large.write_bytes(b"a" * 70_000)
    with pytest.raises(SettingsError, match="larger than"):
        load(environ={"COMPOSIO_API_KEY_FILE": str(large)})
    large.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="no text"):
        load(environ={"COMPOSIO_API_KEY_FILE": str(large)})


def test_a_wrong_secret_is_not_repeated(write: Write) -> None:
    with pytest.raises(SettingsError) as caught:
        load(write("projects: [{name: a, api_key: {ak_oops: 1}}]"), {})
    assert "ak_oops" not in str(caught.value)


def test_what_config_prints_can_be_read_back(tmp_path: Path) -> None:
    values = {"OTEL_BRIDGE_KEEP": "1h1m1s", "OTEL_BRIDGE_RECHECK": "10s,1m", "OTEL_BRIDGE_AGE_LIMIT": "0s"}
    settings = load(environ=values)
    document = yaml.safe_load(as_yaml(settings))
    assert document["ledger"]["keep"] == "3661000ms"
    assert document["collect"]["recheck"] == "10s,1m"
    assert document["export"]["age_limit"] == "0s"
    assert document["export"]["metric_interval"] == 60_000
    document["ledger"]["state"] = "sqlite:///x.db"
    copy = tmp_path / "copy.yaml"
    copy.write_text(yaml.safe_dump(document))
    assert load(copy, {}).collect == settings.collect


@pytest.mark.parametrize(("value", "age_s"), [("5m", 300), ("1500ms", 1.5), ("0s", None), (None, None)])
def test_the_age_of_connections_reaches_every_destination(value: str | None, age_s: float | None) -> None:
    settings = load(environ={} if value is None else {"OTEL_BRIDGE_CONNECTION_AGE": value})
    assert {settings.destination(signal).connection_age_s for signal in Signal} == {age_s}


def test_the_schema_names_every_section() -> None:
    properties = json.loads(schema())["properties"]
    assert set(properties) == set(SettingsModel.model_fields) >= {"projects", "collect", "export", "http"}


def test_an_unknown_variable_is_most_likely_a_typo() -> None:
    (line,) = unknown_variables({"OTEL_BRIDGE_POL_INTERVAL": "1s", "OTEL_BRIDGE_START": "1h", "PATH": ""})
    assert "OTEL_BRIDGE_POL_INTERVAL" in line
    assert "OTEL_BRIDGE_POLL_INTERVAL" in line


@pytest.mark.parametrize("service", ["OTEL_BRIDGE", "OTEL_BRIDGE_PAGE", "OTEL_BRIDGE_START", "OTEL_BRIDGE_2"])
def test_what_kubernetes_says_of_a_service_is_no_typo(service: str) -> None:
    made = {
        f"{service}_SERVICE_HOST": "fd00::7",
        f"{service}_SERVICE_PORT": "8790",
        f"{service}_SERVICE_PORT_HTTP": "8790",
        f"{service}_PORT": "tcp://[fd00::7]:8790",
    }
    for port, protocol in ((8790, "TCP"), (53, "UDP"), (9, "SCTP")):
        link = f"{service}_PORT_{port}_{protocol}"
        made[link] = f"{protocol.lower()}://[fd00::7]:{port}"
        made |= {f"{link}_PROTO": protocol.lower(), f"{link}_PORT": str(port), f"{link}_ADDR": "fd00::7"}
    assert unknown_variables(made) == []


def test_what_compose_reads_is_no_typo_for_systemd_and_a_port_that_looks_like_a_setting_is_one() -> None:
    written = re.findall(r"^#?(OTEL_BRIDGE_\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert {"OTEL_BRIDGE_PORT", "OTEL_BRIDGE_TAG"} <= {name for name, _ in written}
    assert unknown_variables(dict(written)) == []
    assert len(unknown_variables({"OTEL_BRIDGE_LISTEN_PORT": "8790"})) == 1


@examples(max_examples=30)
@given(st.sampled_from([v.name for _, v, _ in variables() if v.name]), st.text(max_size=40))
def test_no_value_of_any_variable_leads_to_a_traceback(name: str, value: str) -> None:
    try:
        load(environ={name: value})
    except SettingsError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - either outcome is right
