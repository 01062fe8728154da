"""What a command may be given and be answered, odd in every part: variables, proxies, words, answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from odd_answers import GOOD_DETAIL, GOOD_EXPORT, GOOD_LIST, answers

if TYPE_CHECKING:
    from pathlib import Path

    from odd_server import OddServer

SECRET = "ak_never_printed"
STATUSES = {0, 1, 2}
ODD = re.compile(r"unforeseen|Traceback|Exception ignored|never retrieved|never awaited")
"""What no command prints."""

# ── variables ────────────────────────────────────────────────────────────────────────────────────────────
# {source} and {sink} are ports of servers, {folder} a folder; nothing else than loopback is asked.
ADDRESSES = [
    "http://127.0.0.1:{sink}",
    "http://127.0.0.1:{sink}/a b",
    "http://127.0.0.1:{sink}/\u00e9?k=v#f",
    "https://127.0.0.1:{sink}",
    "http://user:pass@127.0.0.1:{sink}",
    "http://127.0.0.1:1",
    "http://[::1]:1",
    "http://[fe80::1%25lo]:1",
    "http://localhost:{sink}/",
    "http://nowhere.invalid",
    "http://b\u00fccher.invalid:4318",
    "http://-bad-.invalid",
    "http://" + "a" * 64 + ".invalid",
    "http://a..invalid",
    "127.0.0.1:{sink}",
    "[::1]:1",
    "[::1",
    "http://[",
    "http://",
    "://",
    ":",
    "unix:///nope",
    "dns:///127.0.0.1:1",
    "http://127.0.0.1:99999",
    "http://127.0.0.1:0",
    "http://127.0.0.1:-1",
    "http://127.0.0.1:\u0663",
    "ftp://127.0.0.1:{sink}",
    "HTTP://127.0.0.1:{sink}",
    "http://127.0.0.1:{sink}\r",
    '"http://127.0.0.1:{sink}"',
    "http://%zz.invalid",
    "http://127.0.0.1:{sink}/%",
]
PROXIES = [
    *ADDRESSES,
    "socks5://127.0.0.1:{sink}",
    "socks5h://user:pass@127.0.0.1:1",
    "socks4://127.0.0.1:1",
    "http://us er:pa ss@127.0.0.1:{sink}",
    "http://%zz:%@127.0.0.1:{sink}",
    "garbage",
    "\udcff",
]
FILES = [
    "/nope",
    "{folder}",
    "{folder}/garbage",
    "{folder}/empty",
    "/dev/null",
    "",
    "~nobody-here/x",
    "a" * 300,
    "\udcff",
]
STATES = [
    "sqlite:///{folder}/ledger.db",
    "sqlite:///{folder}/deep/er/ledger.db",
    "sqlite:///{folder}",
    "sqlite:///{folder}/garbage",
    "sqlite:///{folder}/\u00e9 %20?.db",
    "sqlite:////dev/null",
    "sqlite:////proc/nope/ledger.db",
    "sqlite:///" + "a" * 300,
    "sqlite:///{folder}/" + "a/" * 2100,
    "sqlite://{folder}",
    "sqlite:///",
    "sqlite:///~nobody-here/x",
    "sqlite",
    "postgresql://127.0.0.1:1/x",
    "postgresql://user:p%zz@127.0.0.1:1/x",
    "postgresql://[::1",
    "postgresql://127.0.0.1:99999/x",
    "postgresql:///x?host=/nope",
    "postgresql://127.0.0.1:{sink}/x",
    "postgresql://127.0.0.1:1/x?sslmode=never",
    "postgres://",
    "mysql://127.0.0.1/x",
]
texts = st.one_of(
    st.text(max_size=12).filter(lambda text: "\0" not in text),
    st.sampled_from(
        [
            "0",
            "1",
            "-1",
            "1e400",
            "nan",
            "5s",
            "1h",
            "0s",
            "99999d",
            "true",
            "all",
            "none",
            "table",
            ",",
            ",,a",
            "{",
            "\udcff",
        ]
    ),
)
VARIABLES: dict[str, st.SearchStrategy[str]] = {
    "COMPOSIO_BASE_URL": st.sampled_from([*ADDRESSES, "http://127.0.0.1:{source}/prefix"]),
    "COMPOSIO_API_KEY": st.sampled_from([SECRET, "", "a b", "\u00e9", '"' + SECRET + '"\r']),
    "COMPOSIO_API_KEY_FILE": st.sampled_from(FILES),
    "OTEL_BRIDGE_STATE": st.sampled_from(STATES),
    "OTEL_BRIDGE_PROJECTS": st.sampled_from([*FILES, "table"]),
    "OTEL_BRIDGE_CONFIG": st.sampled_from(FILES),
    "OTEL_BRIDGE_LISTEN": st.sampled_from(
        ["", "127.0.0.1:0", "[::]:0", "[::1]:1", "127.0.0.1:{sink}", "\u00f6..b:1", ":0", "x"]
    ),
    **{
        f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT": st.sampled_from(ADDRESSES)
        for signal in ("", "TRACES_", "LOGS_", "METRICS_")
    },
    "OTEL_EXPORTER_OTLP_PROTOCOL": st.sampled_from(["grpc", "http/protobuf", "http/json", "GRPC"]),
    "OTEL_EXPORTER_OTLP_HEADERS": st.sampled_from(
        ["a=b", "a=%0a", "=", "a", "\u00e9=x", "authorization=x,a=\u00e9", "te=x"]
    ),
    "OTEL_EXPORTER_OTLP_CERTIFICATE": st.sampled_from(FILES),
    "OTEL_EXPORTER_OTLP_CLIENT_KEY": st.sampled_from(FILES),
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": st.sampled_from(FILES),
    "OTEL_EXPORTER_OTLP_INSECURE": st.sampled_from(["true", "false", "maybe"]),
    "OTEL_EXPORTER_OTLP_TIMEOUT": st.sampled_from(["2000", "1", "0", "x"]),
    **{
        name: st.sampled_from(PROXIES)
        for name in (
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "http_proxy",
            "https_proxy",
            "all_proxy",
            "grpc_proxy",
        )
    },
    "NO_PROXY": st.sampled_from(
        ["*", "127.0.0.1", "127.0.0.0/8", "::1/0", "[", "\udcff", ",,", ".", "localhost:x"]
    ),
    **{
        name: st.sampled_from(FILES)
        for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE", "HOME", "TMPDIR")
    },
    "PGSSLMODE": st.sampled_from(["never", "require"]),
    "COLUMNS": st.sampled_from(["0", "1", "-3", "x", "100000"]),
    "TERM": st.sampled_from(["", "dumb", "nope"]),
    "FORCE_COLOR": st.just("1"),
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": texts,
    "OTEL_ATTRIBUTE_COUNT_LIMIT": texts,
    "TZ": st.sampled_from(["Nowhere/Land", ":", "\udcff"]),
}
OTHERS = [
    *(
        "START",
        "POLL_INTERVAL",
        "RECHECK",
        "DETAIL",
        "RATE_SHARE",
        "CONCURRENCY",
        "PARENT_WAIT",
        "SIGNALS",
        "HOSTS",
    ),
    *(
        "SERVICE_NAME",
        "REDACT",
        "SAMPLE",
        "TOKEN",
        "TRACE_LINKS",
        "LOG_LEVEL",
        "LOG_FORMAT",
        "TELEMETRY",
        "AGE_LIMIT",
    ),
]
VARIABLES |= {f"OTEL_BRIDGE_{name}": texts for name in OTHERS}
VARIABLES |= {"OTEL_RESOURCE_ATTRIBUTES": texts, "OTEL_METRIC_EXPORT_INTERVAL": texts}

environments = st.lists(st.sampled_from(sorted(VARIABLES)), max_size=3, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: VARIABLES[name] for name in names})
)

# ── words ────────────────────────────────────────────────────────────────────────────────────────────────
TIMES = [
    "2h",
    "now",
    "1970-01-01T00:00:00Z",
    "9999-12-31",
    "0001-01-01",
    "-1",
    "0",
    "1e9",
    "NaN",
    "\u0663h",
    "2026-02-30",
    "",
]
times = st.one_of(st.just("2h"), st.sampled_from(TIMES))
WORDS = [
    "",
    "-",
    "--",
    "--help",
    "--bogus",
    "x",
    "\u00e9",
    "\udcff",
    "[/]",
    "%s",
    "{}",
    "9" * 400,
    "-1",
    "--config",
    "--json",
]
ids = st.sampled_from(["log_1", "", "../..", "log_\u00e9", "\udcff", "a" * 3000, "?#", "%00", "log 1"])
words = st.one_of(
    st.sampled_from([["config"], ["config", "--schema"], ["status"], ["status", "--json"]]),
    st.sampled_from([["check"], ["check", "--no-send", "--json"], ["run", "--once"], ["retry"]]),
    st.just(["run", "--once"]),
    st.builds(lambda first, last: ["backfill", "--from", first, "--to", last], times, times),
    st.builds(lambda first: ["backfill", "--from", first, "--to", "now", "--again"], times),
    st.builds(lambda first: ["verify", "--from", first, "--to", "now", "--repair", "--again"], times),
    st.builds(lambda log_id: ["show", "--", log_id], ids),
    st.builds(lambda log_id: ["show", "--as", "otlp-json", "--", log_id], ids),
    st.builds(lambda log_id: ["retry", "--", log_id], ids),
    st.builds(lambda path: ["status", "--config", path], st.sampled_from(FILES)),
    st.builds(
        lambda name: ["worker", "--projects", name], st.sampled_from(["", ",", "x", "default", "\udcff"])
    ),
    st.builds(
        lambda one, two: ["ledger", "copy", one, two], st.sampled_from(STATES), st.sampled_from(STATES)
    ),
    st.lists(st.sampled_from(["status", "config", "show", "emulate", *WORDS]), max_size=4).filter(
        lambda given: given[:1] != ["emulate"] or len(given) > 1
    ),
)


@dataclass(frozen=True)
class Case:
    """What a command is given, and what it is answered."""

    environ: dict[str, str]
    arguments: list[str]
    listed: bytes
    detailed: bytes
    exported: bytes


cases = st.builds(
    Case,
    environments,
    words,
    st.one_of(st.just(GOOD_LIST), answers),
    st.one_of(st.just(GOOD_DETAIL), answers),
    st.one_of(st.just(GOOD_EXPORT), answers),
)


def placed(case: Case, source: OddServer, sink: OddServer, folder: Path) -> tuple[list[str], dict[str, str]]:
    """The words and the variables of a case, with ports and folder put in."""
    (folder / "garbage").write_bytes(b"\xff\x00{[: %\n" * 50)
    (folder / "empty").touch()
    source.answers = {"/tool_execution/": case.detailed, "": case.listed}
    sink.answers = {"": case.exported}

    def put(text: str) -> str:
        text = text.replace("{source}", str(source.port)).replace("{sink}", str(sink.port))
        return text.replace("{folder}", str(folder))

    plain = {
        "HOME": str(folder),
        "COMPOSIO_API_KEY": SECRET,
        "COMPOSIO_BASE_URL": f"http://127.0.0.1:{source.port}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink.port}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2000",
        "OTEL_BRIDGE_STATE": f"sqlite:///{folder}/ledger.db",
        "OTEL_BRIDGE_LISTEN": "",
    }
    return [put(each) for each in case.arguments], plain | {
        name: put(text) for name, text in case.environ.items()
    }


def is_foreseen(status: int, said: str) -> bool:
    """Whether a command ended as the documentation says, and printed nothing odd and no secret."""
    return status in STATUSES and not ODD.search(said) and SECRET not in said
