"""Links into a backend: a template can become nothing but a URL of its own host."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_bridge.errors import SettingsError
from otel_bridge.settings import load
from otel_bridge.settings.links import PLACES, filled

if TYPE_CHECKING:
    from pathlib import Path

JAEGER = "http://localhost:16686/trace/{trace_id}"


def links(text: str) -> dict[str, str]:
    return load(None, {"OTEL_BRIDGE_TRACE_LINKS": text}).links.trace


def test_one_url_needs_no_name_and_several_have_one() -> None:
    assert links(JAEGER) == {"trace": JAEGER}
    assert links("https://x.example/?a=1&t={trace_id}") == {"trace": "https://x.example/?a=1&t={trace_id}"}
    assert links(f"Jaeger={JAEGER} Other=https://x.example/{{span_id}}?a=b") == {
        "Jaeger": JAEGER,
        "Other": "https://x.example/{span_id}?a=b",
    }
    assert links("") == {}


@pytest.mark.parametrize(
    "template",
    [
        "javascript:alert({trace_id})",
        "data:text/html,{trace_id}",
        "ftp://x.example/{trace_id}",
        "//x.example/{trace_id}",
        "trace/{trace_id}",
        "https://{trace_id}.example/",
        "https://user:secret@x.example/{trace_id}",
        "https://x.example/{unknown}",
        "https://x.example/{trace_id",
        "https://x.example/{{trace_id}}",
        "https://x.example/trace_id}",
        "https://x.example/{}",
        "https://x.example:port/{trace_id}",
        'https://x.example/"onclick=x',
        "https://x.example/<b>",
        "https://x.example/\u202e",
        "https://x.example/" + "a" * 1000,
        "A=B=https://x.example/",
        "=https://x.example/",
        "<b>=https://x.example/",
        f"A={JAEGER} A={JAEGER}",
        " ".join(f"N{number}={JAEGER}" for number in range(9)),
    ],
)
def test_what_is_no_safe_template_is_one_clear_line(template: str) -> None:
    with pytest.raises(SettingsError, match=r"OTEL_BRIDGE_TRACE_LINKS is .*takes Name=URL") as raised:
        links(template)
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_in_the_file_it_is_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "bridge.yaml"
    path.write_text(f"links: {{trace: {{Our Jaeger: '{JAEGER}'}}}}")
    assert load(path, {}).links.trace == {"Our Jaeger": JAEGER}
    for wrong in ("7", "[x]", "{A: 7}"):
        path.write_text(f"links: {{trace: {wrong}}}")
        with pytest.raises(SettingsError, match=r"links\.trace is .*takes Name=URL"):
            load(path, {})


@given(st.dictionaries(st.sampled_from(sorted(PLACES)), st.text(max_size=20)))
def test_what_is_filled_in_never_leaves_its_place(values: dict[str, str]) -> None:
    every = {place: values.get(place, "x") for place in PLACES}
    every = {place: text.encode(errors="ignore").decode() for place, text in every.items()}
    url = filled("https://x.example/trace/{trace_id}/{project}?span={span_id}#end", every)
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "x.example", "end")
    assert parts.path.split("/")[1:3] == ["trace", parts.path.split("/")[2]]
    assert [unquote(part) for part in parts.path.split("/")[2:]] == [every["trace_id"], every["project"]]
    assert unquote(parts.query.removeprefix("span=")) == every["span_id"]
