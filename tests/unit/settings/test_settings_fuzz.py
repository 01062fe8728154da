"""Whatever a settings file holds, it is settings or one line; never a traceback, never a secret."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from otel_bridge.errors import SettingsError
from otel_bridge.settings import Settings, SettingsModel, load, variables

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SECRET = "ak_fuzz_never_shown"
KNOWN = sorted({name for (_, name), _, _ in variables()} | {"headers", "endpoint", "traces", "logs", "field"})
SECTIONS = sorted(SettingsModel.model_fields)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["1h", "0.5", "all", "traces", "grpc", "http://127.0.0.1:1", "${env:X}", "${file:/nope}"]
    ),
)
keys = st.one_of(st.sampled_from(KNOWN), st.text(string.ascii_letters + "_", max_size=8))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=8,
)
documents = st.dictionaries(
    st.one_of(st.sampled_from(SECTIONS), st.text(max_size=8)),
    st.one_of(values, st.dictionaries(keys, values, max_size=5)),
    max_size=5,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "bridge.yaml"


def loaded(path: Path, environ: Mapping[str, str]) -> Settings | str:
    """The settings, or the line."""
    try:
        return load(path, environ)
    except SettingsError as error:
        line = str(error)
    assert len(line.splitlines()) == 1
    assert len(line) < 1000
    return line


@examples(max_examples=60)
@given(document=documents)
def test_a_document_of_any_shape(path: Path, document: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(document, allow_unicode=True))
    loaded(path, {})


@examples(max_examples=60)
@given(text=st.one_of(st.text(max_size=200), st.text(":-&*!|>{}[]'\"<#%@ \n\tab1", max_size=80)))
def test_a_file_of_any_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="surrogateescape" if text.isascii() else "replace")
    loaded(path, {})


@examples(max_examples=30)
@given(raw=st.binary(max_size=200))
def test_a_file_of_any_bytes(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    loaded(path, {})


PLACES = [
    "projects: [{name: a, api_key: %s}]",
    "http: {token: %s}",
    "export: {headers: %s}",
    "export: {logs: {headers: %s}}",
]


@examples(max_examples=60)
@given(
    place=st.sampled_from(PLACES),
    wrapped=st.sampled_from(["'%s'", "[%s]", "{%s: 1}", "{a: %s}", "{a: [%s]}", "'x=%s,y'", '"%s\\n"']),
)
def test_a_secret_in_any_form_is_not_repeated(path: Path, place: str, wrapped: str) -> None:
    path.write_text(place % (wrapped % SECRET))
    result = loaded(path, {})
    assert SECRET not in (result if isinstance(result, str) else repr(result))
