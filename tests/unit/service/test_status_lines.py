"""``status``: a project's state in words, and the facts behind it."""

from __future__ import annotations

from dataclasses import replace

from otel_bridge.ledger import ProjectStatus, Verification
from otel_bridge.service.status import status_json, status_lines

NOW_MS = 1_776_420_000_000
NEW = ProjectStatus("shop", None, None, 0, {}, 0, None, None, None)
GOING = ProjectStatus(
    "shop", NOW_MS - 3_000, NOW_MS - 3_600_000, 1_204, {}, 1, None, None, NOW_MS - 1_000, None
)


def lines(*statuses: ProjectStatus) -> list[str]:
    return list(status_lines(statuses, {"shop"}, NOW_MS))


def test_before_anything_is_collected() -> None:
    assert lines(NEW)[0] == "shop: nothing collected yet, 0 records delivered, nothing set aside"


def test_a_project_that_works() -> None:
    assert lines(GOING) == [
        "shop: 3 s behind, 1,204 records delivered, nothing set aside",
        "  collected up to   2026-04-17T09:59:57.000Z",
        "  sealed up to      2026-04-17T09:00:00.000Z (1 window to be listed again)",
        "  last good pass    2026-04-17T09:59:59.000Z, 1 s ago",
        "  verified          not yet",
    ]


def test_a_project_in_trouble() -> None:
    verification = Verification(NOW_MS, NOW_MS - 86_400_000, NOW_MS, 10, 8, 2, 1)
    status = replace(
        GOING,
        set_aside={"not_found": 2, "refused": 1},
        sealed_ms=None,
        last_error="429",
        last_error_ms=NOW_MS,
        verification=verification,
    )
    shown = lines(status)
    assert shown[0].endswith("3 set aside, failing")
    assert "  last error        2026-04-17T10:00:00.000Z: 429" in shown
    assert "  set aside         2 not found, 1 refused (`otel-bridge retry` tries again)" in shown
    assert shown[-1].startswith("  verified          1 missing (1 repaired) from")
    assert "last error        429" in "\n".join(lines(replace(status, last_error_ms=None)))
    whole = replace(status, verification=replace(verification, repaired=2))
    assert "nothing missing (2 repaired) from" in lines(whole)[-1]
    never = replace(status, verification=replace(verification, missing=0, repaired=0))
    assert "  verified          nothing missing from" in lines(never)[-1]


def test_a_project_that_is_not_in_the_settings_is_told_apart() -> None:
    shown = lines(GOING, replace(NEW, project="old"))
    assert shown[shown.index("") + 1].startswith("old: ")
    assert shown[-3].endswith("not in the settings, so nothing collects it")


def test_for_machines() -> None:
    assert [each["lag_ms"] for each in status_json([GOING, NEW], NOW_MS)] == [3_000, None]
