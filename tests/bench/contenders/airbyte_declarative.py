"""A declarative source of airbyte-cdk, pull only: each detail is a partition, so many workers at once.

See stopwatch.py for the arguments.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airbyte_cdk.models import (  # type: ignore[import-not-found,unused-ignore]
    AirbyteStream,
    ConfiguredAirbyteCatalog,
    ConfiguredAirbyteStream,
    DestinationSyncMode,
    SyncMode,
    Type,
)
from airbyte_cdk.sources.declarative.concurrent_declarative_source import (  # type: ignore[import-not-found,unused-ignore]
    ConcurrentDeclarativeSource,
)
from stopwatch import KEY, LIST, Task, measured, task

if TYPE_CHECKING:
    from collections.abc import Callable

_SCHEMA = {"type": "InlineSchemaLoader", "schema": {"type": "object", "properties": {}}}


def manifest(of: Task) -> dict[str, Any]:
    """The source as its language has it."""
    requester = {"type": "HttpRequester", "url_base": of.base_url, "request_headers": {"x-api-key": KEY}}
    paging = {
        "type": "DefaultPaginator",
        "page_token_option": {"type": "RequestOption", "inject_into": "body_json", "field_name": "cursor"},
        "pagination_strategy": {
            "type": "CursorPagination",
            "cursor_value": "{{ response['next_cursor'] }}",
            "stop_condition": "{{ not response['next_cursor'] }}",
        },
    }
    logs = {
        "type": "DeclarativeStream",
        "name": "logs",
        "primary_key": "id",
        "schema_loader": _SCHEMA,
        "retriever": {
            "type": "SimpleRetriever",
            "requester": requester
            | {
                "path": f"/{LIST}",
                "http_method": "POST",
                "request_body_json": {"limit": 100, "time_range": {"from": of.from_ms, "to": of.to_ms}},
            },
            "record_selector": {
                "type": "RecordSelector",
                "extractor": {"type": "DpathExtractor", "field_path": ["logs"]},
            },
            "paginator": paging,
        },
    }
    details = {
        "type": "DeclarativeStream",
        "name": "details",
        "primary_key": "id",
        "schema_loader": _SCHEMA,
        "retriever": {
            "type": "SimpleRetriever",
            "requester": requester | {"path": f"/{LIST}/{{{{ stream_partition.log_id }}}}"},
            "record_selector": {
                "type": "RecordSelector",
                "extractor": {"type": "DpathExtractor", "field_path": []},
            },
            "partition_router": {
                "type": "SubstreamPartitionRouter",
                "parent_stream_configs": [
                    {
                        "type": "ParentStreamConfig",
                        "stream": logs,
                        "parent_key": "id",
                        "partition_field": "log_id",
                    }
                ],
            },
        },
    }
    return {
        "version": "6.0.0",
        "type": "DeclarativeSource",
        "check": {"type": "CheckStream", "stream_names": ["details"]},
        "streams": [details],
        # The language's own greatest number of workers bounds what one may ask for.
        "concurrency_level": {
            "type": "ConcurrencyLevel",
            "default_concurrency": of.in_flight + 1,  # one of them makes partitions
            "max_concurrency": of.in_flight + 1,
        },
    }


def prepared(of: Task) -> Callable[[], int]:
    """Make the source ready."""
    logging.disable()
    stream = AirbyteStream(name="details", json_schema={}, supported_sync_modes=[SyncMode.full_refresh])
    wanted = ConfiguredAirbyteStream(
        stream=stream,
        sync_mode=SyncMode.full_refresh,
        destination_sync_mode=DestinationSyncMode.append,
    )
    catalog = ConfiguredAirbyteCatalog(streams=[wanted])
    source = ConcurrentDeclarativeSource(
        catalog=catalog, config={}, state=[], source_config=manifest(of), debug=False
    )
    messages = source.read(logging.getLogger("airbyte"), {}, catalog, [])
    return lambda: sum(each.type == Type.RECORD for each in messages)


if __name__ == "__main__":
    measured(prepared(task()))
