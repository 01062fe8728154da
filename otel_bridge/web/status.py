"""The answers for machines: ``/livez``, ``/readyz``, ``/api/status``; see ``openapi.yaml``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from otel_bridge import __version__
from otel_bridge.service.holders import work_json
from otel_bridge.service.reasons import Code
from otel_bridge.times import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_bridge.circuit_state import CircuitState
    from otel_bridge.receiver.budget import BudgetState
    from otel_bridge.service.reasons import Reason
    from otel_bridge.web.snapshot import ProjectSnapshot, Snapshot


def readiness_json(reasons: Sequence[Reason]) -> dict[str, Any]:
    """The body of ``/readyz``."""
    return {"status": state_of(reasons), "reasons": [_reason(reason) for reason in reasons]}


def state_of(reasons: Sequence[Reason]) -> str:
    """``ready``, ``starting`` or ``not_ready``."""
    if not reasons:
        return "ready"
    return "starting" if all(reason.code is Code.STARTING for reason in reasons) else "not_ready"


def status_json(snapshot: Snapshot, rate_share: float) -> dict[str, Any]:
    """The body of ``/api/status``; times and lags in ms."""
    return {
        "version": __version__,
        "now_ms": snapshot.now_ms,
        "started_ms": snapshot.started_ms,
        **readiness_json(snapshot.reasons),
        "ledger_error": snapshot.trouble,
        "projects": [_project(project, rate_share) for project in snapshot.projects],
        "circuits": [_circuit(state) for state in snapshot.circuits],
        "replicas": None if snapshot.work is None else work_json(snapshot.work),
    }


def _reason(reason: Reason) -> dict[str, Any]:
    return {
        "project": reason.project,
        "reason": reason.code.value,
        "message": reason.message,
        "since": format_time(reason.since_ms),
        "to_do": reason.to_do,
    }


def _project(project: ProjectSnapshot, rate_share: float) -> dict[str, Any]:
    known = project.ledger
    return {
        "project": project.name,
        "lag_ms": project.lag_ms,
        "watermark_ms": known and known.watermark_ms,
        "sealed_ms": known and known.sealed_ms,
        "delivered": known and known.delivered,
        "delivered_last_hour": sum(minute.delivered for minute in project.hour),
        "failed_calls_last_hour": sum(minute.failed for minute in project.hour),
        "set_aside": dict(known.set_aside) if known else {},
        "open_windows": known and known.open_windows,
        "last_error": known and known.last_error,
        "last_error_ms": known and known.last_error_ms,
        "last_success_ms": known and known.last_success_ms,
        "verification": asdict(known.verification) if known and known.verification else None,
        "budget": _budget(project.budget, rate_share) if project.budget else None,
    }


def _budget(state: BudgetState, share: float) -> dict[str, Any]:
    return {
        "organization": state.name,
        "share": share,
        "limit": state.limit,
        "remaining": state.remaining,
        "allowed": state.allowed,
        "used": state.used,
        "window_s": state.window_s,
        "waiting": state.waiting,
        "blocked_until_ms": state.blocked_until_ms,
    }


def _circuit(state: CircuitState) -> dict[str, Any]:
    return {"name": state.name, "since_ms": state.since_ms, "reason": state.reason}
