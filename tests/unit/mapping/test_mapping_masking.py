"""No secret leaves the bridge."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_bridge.mapping.masking import Masker
from otel_bridge.mapping.secret_keys import SecretKeys, Verdict
from otel_bridge.mapping.values import MAX_NESTING, TOO_DEEP

MASKER = Masker()


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "PASSWORD",
        "db_password",
        "userPassword",
        "passwd",
        "pwd",
        "secret",
        "client_secret",
        "clientSecret",
        "clientsecret",
        "token",
        "access_token",
        "accessToken",
        "accesstoken",
        "refresh-token",
        "session token",
        "next_page_token",
        "id_token",
        "csrfToken",
        "authorization",
        "Authorization",
        "Proxy-Authorization",
        "api key",
        "apikey",
        "api_key",
        "apiKey",
        "APIKey",
        "X-API-Key",
        "x-api-key",
        "cookie",
        "Set-Cookie",
        "card number",
        "cardNumber",
        "credit_card",
        "cvv",
        "cvc",
        "ssn",
        "private_key",
        "privateKey",
        "credential",
        "credentials",
        "passphrase",
        "otp",
        "auth",
        "smtp_pass",
        "aws_secret_access_key",
        "bearer",
    ],
)
def test_built_in_keys_are_masked(key: str) -> None:
    assert MASKER.value({key: "hunter2"}) == {key: "[REDACTED]"}
    assert MASKER.value({key: {"deeper": ["hunter2"]}}) == {key: "[REDACTED]"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("token_count", 512),
        ("max_tokens", 512),
        ("max_tokens", "512"),
        ("total_tokens", 3.5),
        ("tokens", 7),
        ("tokenUsage", {"prompt_tokens": 3, "completion": [4]}),
        ("token_type", "bearer"),
        ("token_expires_at", "2026-04-17"),
        ("credential_source", "connected_account"),
        ("secretary", "Ada"),
        ("pass_rate", "high"),
        ("author", "Ada"),
        ("authenticated", "yes"),
        ("tokenizer", "bpe"),
        ("subject", "hello"),
        ("id", "log_-jRTWClpBoVo"),
        ("monkey", "Kiki"),
        ("keyboard", "qwerty"),
    ],
)
def test_harmless_keys_are_not(key: str, value: object) -> None:
    assert MASKER.value({key: value}) == {key: value}


@pytest.mark.parametrize("key", ["tokens", "max_tokens", "token_count"])
def test_text_under_a_key_of_counts_is_masked(key: str) -> None:
    assert MASKER.value({key: ["hunter2", {"a": "hunter2"}]}) == {key: ["[REDACTED]", {"a": "[REDACTED]"}]}
    nested: Any = "hunter2"
    for _ in range(MAX_NESTING + 5):
        nested = [nested]
    assert "hunter2" not in str(MASKER.value({key: nested}))


@pytest.mark.parametrize(
    ("pattern", "key", "masked"),
    [
        ("iban", "customer_IBAN_no", True),
        ("IBAN", "iban", True),
        ("iban", "ibis", False),
        ("customer_id", "customerId", True),
        ("x-*-key", "X-Tenant-Key", True),
        ("x-*-key", "x-key", False),
        ("internal_*", "internal_note", True),
        ("internal_*", "an_internal_note", False),
        ("*_*_no", "a_b_no", True),
        ("*_*_no", "ab_no", False),
        ("a*b*c*d", "a-b-c-d", True),
        ("a*a", "a", False),
        ("*", "anything", True),
        ("  ", "anything", False),
        ("a.c", "abc", False),
    ],
)
def test_extra_patterns(pattern: str, key: str, masked: bool) -> None:
    assert Masker((pattern,)).masks(key) is masked


def test_what_is_remembered_of_keys_is_bounded() -> None:
    keys = SecretKeys()
    for n in range(10_000):
        assert keys.verdict(f"password{n}") is Verdict.MASK
    keys.verdict("x" * 1_000_000)
    assert len(keys._verdicts) <= 4096
    assert max(map(len, keys._verdicts)) <= 128


def test_an_extra_pattern_outweighs_what_is_harmless_else() -> None:
    assert Masker(("max_tokens",)).value({"max_tokens": 5}) == {"max_tokens": "[REDACTED]"}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("GMAIL_SEND_EMAIL failed: invalid recipient", "GMAIL_SEND_EMAIL failed: invalid recipient"),
        ("no user ada.l+x@mail.example.com here", "no user [REDACTED] here"),
        ("jörg@müller.example", "[REDACTED]"),
        ("a@b", "a@b"),
        ("sent with Bearer abc.DEF-123_x", "sent with Bearer [REDACTED]"),
        ("the bearer token expired", "the bearer token expired"),
        ("Authorization: Bearer abc123", "Authorization: Bearer [REDACTED]"),
        ("authorization: Basic dXNlcjpwYXNz; next", "authorization: Basic [REDACTED]; next"),
        ("X-Api-Key: abc", "X-Api-Key: [REDACTED]"),
        ("api key: abc", "api key: [REDACTED]"),
        ("Cookie: a=b; c=d\nHost: x", "Cookie: [REDACTED]\nHost: x"),
        ("GET /v1?access_token=abc&page=2", "GET /v1?access_token=[REDACTED]&page=2"),
        ("https://ada:pw@example.com/x", "https://ada:[REDACTED]@example.com/x"),
        ("password='a b', user=ada", "password='[REDACTED]', user=ada"),
        ('{"password": "a\\"b", "user": "ada"', '{"password": "[REDACTED]", "user": "ada"'),
        (
            'log: {\\"password\\": \\"hunter2\\", \\"a\\": 1}',
            'log: {\\"password\\": \\"[REDACTED]\\", \\"a\\": 1}',
        ),
        ('x "token": "never ends', 'x "token": "[REDACTED]'),
        ("credentials: {user: ada, pass: x}", "credentials: [REDACTED]"),
        ("max_tokens: 512, token=abc", "max_tokens: 512, token=[REDACTED]"),
        ("password=", "password="),
        ("password=[REDACTED]&a=1", "password=[REDACTED]&a=1"),
        ("key ak_1234567890abc!", "key [REDACTED]!"),
        ("sk-proj-abcdefgh1234", "[REDACTED]"),
        ("ghp_abcdefghijklmnop1234", "[REDACTED]"),
        ("xoxb-123456-abcdef", "[REDACTED]"),
        ("AKIAIOSFODNN7EXAMPLE", "[REDACTED]"),
        ("task-force-something-long", "task-force-something-long"),
        ("jwt eyJhbGciOi.eyJzdWIiOi.SflKxw-_", "jwt [REDACTED]"),
        ("card 4111 1111 1111 1111 ok", "card [REDACTED] ok"),
        ("card 4111-1111-1111-1111", "card [REDACTED]"),
        ("3782 822463 10005", "[REDACTED]"),
        ("4111111111111112", "4111111111111112"),
        ("1776421500000 and 1776421500000000000", "1776421500000 and 1776421500000000000"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----.", "[REDACTED]."),
        ("key=-----BEGIN PRIVATE KEY-----\nMII", "key=[REDACTED]"),
        ("-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----"),
    ],
)
def test_free_text(text: str, masked: str) -> None:
    assert MASKER.text(text) == masked
    assert MASKER.text(masked) == masked, "masking twice changes nothing"


def test_json_inside_strings_is_masked_at_every_depth() -> None:
    inner = json.dumps({"password": "hunter2", "a": 1})
    outer = {"body": json.dumps({"more": inner, "list": [inner]}), "twice": json.dumps(inner)}
    masked = MASKER.value(outer)
    assert "hunter2" not in json.dumps(masked)
    assert json.loads(json.loads(masked["body"])["more"]) == {"password": "[REDACTED]", "a": 1}
    assert json.loads(json.loads(masked["twice"])) == {"password": "[REDACTED]", "a": 1}


def test_json_text_without_a_secret_stays_as_it_was_written() -> None:
    text = '{ "a" : 1.50, "b": "\\u0041" }'
    assert MASKER.text(text) == text


def test_the_first_of_two_equal_keys_is_no_hiding_place() -> None:
    assert "hunter2" not in MASKER.text('{"a": {"password": "hunter2"}, "a": 1}')


def test_json_with_a_number_too_long_to_read_is_still_masked() -> None:
    text = '{"password": "hunter2", "n": ' + "9" * 5000 + "}"
    assert "hunter2" not in MASKER.text(text)


def test_headers_written_as_name_and_value_are_masked() -> None:
    headers = [{"name": "Cookie", "value": "a=b"}, {"name": "Accept", "value": "*/*"}, {"value": "x"}]
    assert MASKER.value(headers) == [
        {"name": "Cookie", "value": "[REDACTED]"},
        {"name": "Accept", "value": "*/*"},
        {"value": "x"},
    ]


def test_secrets_used_as_keys_are_masked_and_no_value_is_lost() -> None:
    masked = MASKER.value({"ada@example.com": 1, "bob@example.com": 2})
    assert sorted(masked.values()) == [1, 2]
    assert "@" not in json.dumps(masked)


def test_card_numbers_written_as_numbers_are_masked() -> None:
    assert MASKER.value([4111111111111111, 4111111111111112, True]) == ["[REDACTED]", 4111111111111112, True]


def test_what_is_nested_too_deep_is_cut() -> None:
    value: Any = "hunter2"
    for _ in range(MAX_NESTING + 1):
        value = {"a": [value]}
    masked = json.dumps(MASKER.value(value))
    assert TOO_DEEP in masked
    assert "hunter2" not in masked
    text: Any = json.dumps({"password": "hunter2"})
    for _ in range(MAX_NESTING):
        text = [text]
    assert "hunter2" not in json.dumps(MASKER.value(text))


def test_json_deeper_than_python_reads_is_masked_as_text() -> None:
    text = '{"a":' * 100_000 + '{"password": "hunter2"}'
    assert "hunter2" not in MASKER.text(text)
    assert "hunter2" not in MASKER.text(text + "}" * 100_000)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
secret_keys = st.sampled_from(["password", "apiKey", "X-Auth-Token", "client_secret", "Cookie"])


@given(
    json_values, secret_keys, st.lists(st.sampled_from(["list", "object", "text"]), max_size=MAX_NESTING + 4)
)
@settings(max_examples=150, deadline=None)
def test_a_planted_secret_never_comes_out(beside: object, key: str, wraps: list[str]) -> None:
    value: Any = {"beside": beside, key: "hunter2-Ω"}
    for wrap in wraps:
        if wrap == "list":
            value = [value, beside]
        elif wrap == "object":
            value = {"x": beside, "y": value}
        elif len(str(value)) < 5000:  # each level of text doubles the backslashes
            value = json.dumps(value)
    masked = MASKER.value(value)
    assert "hunter2" not in json.dumps(masked)
    assert "hunter2" not in MASKER.text(json.dumps(value))


pieces = st.sampled_from(
    [*"ab1 :=&@.\\'\"{}[],;-_/4\n", "password", "Bearer ", "ak_abcdef", "[REDACTED]", "a@b.c"]
)
text_with_marks = st.text() | st.lists(pieces, max_size=25).map("".join)


@given(text_with_marks)
@settings(max_examples=400, deadline=None)
def test_masking_text_twice_changes_nothing(text: str) -> None:
    once = MASKER.text(text)
    assert MASKER.text(once) == once


@given(json_values)
@settings(max_examples=150, deadline=None)
def test_masking_any_json_twice_changes_nothing(value: object) -> None:
    once = MASKER.value(value)
    assert repr(MASKER.value(once)) == repr(once)


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "a@",
        "a.",
        "a@b.",
        "1 ",
        "1",
        "4",
        "4111 ",
        "bearer ",
        "bearer\t",
        "eyJ",
        "eyJaaaaaa.",
        "ak_",
        "://a:",
        "password=",
        'password="',
        '\\"',
        'password=\\"\\\\',
        '"password":"',
        "-----BEGIN PRIVATE KEY-----",
        "api ",
        "api key",
        " ",
        "{",
        "[",
        '{"a":',
        "[1,",
        "A",
        "aB",
        "\\",
        "cookie:",
        "authorization: bearer ",
    ],
)
def test_no_text_takes_long(piece: str) -> None:
    text = piece * (300_000 // len(piece))
    began = time.perf_counter()
    MASKER.text(text)
    MASKER.masks(text)
    assert time.perf_counter() - began < 8, "it takes a fraction of a second; quadratic would take an hour"
