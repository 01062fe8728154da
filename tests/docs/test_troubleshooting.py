"""The troubleshooting page starts from what a person sees, and leaves none of the program's own words out."""

from __future__ import annotations

import re

import pytest
from documentation import DOCS

from otel_bridge.ledger import Reason
from otel_bridge.mapping.identity import Rule
from otel_bridge.service.status import describe_set_aside

PAGE = (DOCS / "troubleshooting.md").read_text()
SEEN = (
    "Nothing arrives",
    "It arrives late",
    "It arrives twice",
    "It is in the wrong trace",
    "Arguments and results are missing",
    "Values are cut off",
    "It does not start",
)


@pytest.mark.parametrize("seen", SEEN)
def test_it_starts_from_what_a_person_sees(seen: str) -> None:
    assert f"\n## {seen}\n" in PAGE


def test_each_rule_that_show_names_says_what_to_do() -> None:
    section = PAGE.partition("## It is in the wrong trace")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| .{20,} \|$", section, re.MULTILINE)
    assert sorted(rows) == sorted(["trace chosen by", *(rule.text for rule in Rule)])


def test_each_reason_to_set_a_record_aside_is_told_as_status_tells_it() -> None:
    told = {reason: describe_set_aside({reason.value: 2}).removeprefix("2 ") for reason in Reason}
    section = PAGE.partition("## Records are set aside")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([a-z ]+) \| ", section, re.MULTILINE)
    assert sorted(rows) == sorted([*told.values(), "reason"])
