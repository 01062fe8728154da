"""dlt's rest_api source, pull only, its details in parallel. See stopwatch.py for the arguments."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stopwatch import KEY, LIST, Task, measured, task

if TYPE_CHECKING:
    from collections.abc import Callable


def prepared(of: Task) -> Callable[[], int]:
    """Make the source ready."""
    os.environ |= {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "EXTRACT__WORKERS": str(of.in_flight),
        "EXTRACT__MAX_PARALLEL_ITEMS": str(2 * of.in_flight),
    }
    # It reads the environment when it is imported.
    from dlt.sources.rest_api import (  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
        rest_api_source,
    )

    page = {
        "path": LIST,
        "method": "POST",
        "json": {"limit": 100, "time_range": {"from": of.from_ms, "to": of.to_ms}},
        "data_selector": "logs",
        "paginator": {"type": "cursor", "cursor_path": "next_cursor", "cursor_body_path": "cursor"},
    }
    detail = {"path": f"{LIST}/{{resources.logs.id}}", "data_selector": "$", "paginator": "single_page"}
    source = rest_api_source(
        {
            "client": {"base_url": f"{of.base_url}/", "headers": {"x-api-key": KEY}},
            "resources": [
                {"name": "logs", "endpoint": page, "selected": False},
                {"name": "details", "endpoint": detail, "parallelized": True},
            ],
        }
    )
    return lambda: sum(1 for _ in source)


if __name__ == "__main__":
    measured(prepared(task()))
