"""Every ``action`` of the bridge's own log, and what it means: ``docs/logs.md`` has its table from here."""

from __future__ import annotations

from typing import Final

ACTIONS: Final = {
    # the process
    "started": "The service collects; its version and its projects.",
    "stopping": "A signal came; the batch in hand is finished first.",
    "stopped": "The service has ended.",
    "stopped_late": "The batch in hand did not end in time; it is delivered again after the next start.",
    "unknown_variable": "A variable `OTEL_BRIDGE_…` that is no setting, most likely a typo.",
    "files_renewed": "A file of the settings has changed (key, token, headers, certificate) and is in use.",
    "file_unusable": "Such a file can't be used as it is now; what was read before stays in use.",
    "ledger_notice": "The ledger was migrated, or set aside and begun anew.",
    "endpoints_open": "Anyone who reaches the endpoints can read them: they listen beyond loopback.",
    "endpoints_off": "The endpoints are not served, by the settings or because the address is taken.",
    "endpoints": "The endpoints are served, and where.",
    "endpoint_failed": "An endpoint failed for a reason nobody foresaw.",
    # collecting
    "window_collected": "A window was listed to its end and what was new in it delivered.",
    "window_rechecked": "The same for a window that was listed again for late records; at debug level where "
    "there were none.",
    "set_aside_delivered": "Records that were set aside are delivered.",
    "entry_without_id": "The list showed entries without an id, which can't be collected.",
    "clock_set_back": "The clock was set back; the time that it passes again is collected again.",
    "pass_failed": "A pass failed and is made again after `retry_in_s` seconds.",
    "ledger_failed": "The ledger could not be written.",
    "project_joined": "A project that was added or changed is collected as it is written now.",
    "project_left": "A project that is there no more is not collected any more.",
    "project_refused": "A project can't be collected as it is written; `where` it stands.",
    "projects_unread": "The file, folder or table of the projects can't be read; all stays as it was.",
    "rate_limited": "Composio's rate limit is reached; no request is sent for `wait_s` seconds.",
    "verified": "The daily comparison with Composio found everything delivered.",
    "verify_missing": "The daily comparison found records missing, and repaired what it could.",
    "verify_differs": "The daily comparison found counts that differ where ids are no longer kept.",
    "verify_failed": "The comparison could not be made.",
    # correlations
    "correlation_late": "Correlations came when their records had gone out without them.",
    "correlation_unused": "Correlations expired, and no record was theirs.",
    # replicas
    "joined": "The process shares the work with other replicas, as one more of them.",
    "lease_lost": "Another replica has taken over a project's work; what was in hand here is dropped.",
    "queue_failed": "The queue of work in PostgreSQL could not be used; it is tried again.",
    "jobs_recovered": "Work that a replica left undone was given back to the others.",
    # far sides
    "circuit_opened": "A source or a destination is held to be down; it is probed until it is back.",
    "circuit_closed": "It is up again.",
    "destination_warning": "What a destination said beside its acknowledgement.",
    "export_warning": "As `destination_warning`, for what concerns every project.",
    "export_retry": "A request to a destination is sent once more; at debug level.",
    "metrics_export": "A destination does not take metrics, or takes them again.",
    "telemetry_export": "The same for the bridge's own spans and log records. Never sent over OTLP itself.",
}
