"""What a record says, read once: whichever of its names a value came under, and what is left over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_bridge.frozen import value
from otel_bridge.mapping import conventions as c
from otel_bridge.mapping.content import Content, read_content
from otel_bridge.mapping.error_type import error_type_of
from otel_bridge.mapping.options import ContentCapture
from otel_bridge.mapping.timings import read_timing
from otel_bridge.mapping.values import limited_text, present

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_bridge.mapping.masking import Masker
    from otel_bridge.mapping.options import MappingOptions
    from otel_bridge.mapping.timings import Timing
    from otel_bridge.receiver.models import Detail
    from otel_bridge.signals import AttributeValue

_FAILED: Final = frozenset({"failed", "failure", "error"})
_ERROR_LEVEL: Final = "error"


@value(frozen=True, slots=True)
class Facts:
    """A record's values by meaning; None where it does not say.

    Attributes:
        timing: When the call ran.
        tool: Tool slug.
        toolkit: Toolkit slug.
        failed: Whether the call failed. A record without a status failed if its level is ``error``.
        error_type: On failure, a low-cardinality class.
        charge_usd: The charge as the source wrote it.
        message: The message, masked and cut; empty where there is none.
        identifying: The attributes that a span and its log record share.
        content: Arguments and result, masked; None where they are not captured.
        other_metadata: The keys of ``metadata`` that none of the others was read from.
    """

    timing: Timing
    tool: str | None
    toolkit: str | None
    credential_source: str | None
    charge_usd: str | None
    failed: bool
    error_type: str | None
    message: str
    identifying: Mapping[str, AttributeValue]
    other_metadata: Mapping[str, Any]
    content: Content | None


def read_facts(record: Detail, options: MappingOptions, masker: Masker) -> Facts:
    """Read a record.

    The tool is ``tool_slug`` or ``tool``, the toolkit ``toolkit_slug`` or ``toolkit``; each may be an object
    with a ``slug``. The session is the context's, else that of the metadata. A value of a type that can't be
    an id is left among the other metadata.
    """
    left = dict(record.metadata)
    limit = options.attribute_bytes
    failed = has_failed(record)
    error_type = error_type_of(record) if failed else None
    tool = _take_slug(left, "tool_slug", "tool")
    toolkit = _take_slug(left, "toolkit_slug", "toolkit")
    message = record.message or ""
    return Facts(
        timing=read_timing(record),
        tool=tool,
        toolkit=toolkit,
        credential_source=_take(left, "credential_source"),
        charge_usd=_take(left, "instant_charge"),
        failed=failed,
        error_type=error_type,
        message="" if not message or message.isspace() else limited_text(masker.text(message), limit),
        identifying=present(_identifying(record, left, toolkit, error_type), limit),
        other_metadata=left,
        content=_content(record, options, masker),
    )


def _content(record: Detail, options: MappingOptions, masker: Masker) -> Content | None:
    if options.content is ContentCapture.NO_CONTENT:
        return None  # masking costs nothing when content is off
    if record.is_tool_execution:
        return read_content(record.data, masker)
    return Content(None, masker.value(record.data))


def _identifying(
    record: Detail, left: dict[str, Any], toolkit: str | None, error_type: str | None
) -> dict[str, str | None]:
    context, parent = record.context, record.parent
    session_id = context.session_id if context is not None else None
    if not session_id or left.get("session_id") == session_id:
        session_id = _take(left, "session_id") or session_id
    return {
        c.CONVERSATION_ID: session_id,
        c.SESSION_ID: session_id,
        c.USER_ID: _take(left, "user_id"),
        c.ERROR_TYPE: error_type,
        c.LOG_ID: record.id,
        c.DETAIL_MISSING: record.missing,
        c.TOOLKIT_SLUG: toolkit,
        c.CONNECTED_ACCOUNT_ID: _take(left, "connected_account_id"),
        c.AUTH_CONFIG_ID: _take(left, "auth_config_id"),
        c.SANDBOX_ID: _take(left, "sandbox_id"),
        c.REQUEST_ID: context.request_id if context is not None else None,
        c.TRACE_ID: context.trace_id if context is not None else None,
        c.PARENT_LOG_ID: parent.log_id if parent is not None else None,
        c.PARENT_TOOL_SLUG: parent.tool_slug if parent is not None else None,
    }


def has_failed(record: Detail) -> bool:
    """Whether a call failed."""
    if record.status:
        return record.status.lower() in _FAILED
    return record.level is not None and record.level.lower() == _ERROR_LEVEL


def _text_of(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return str(value)
        except ValueError:  # an int of thousands of digits is no id
            return None
    return None


def _take(left: dict[str, Any], key: str) -> str | None:
    value = left.get(key)
    if value is None:
        return None
    if type(value) is str:  # nearly always
        del left[key]
        return value or None
    text = _text_of(value)
    if text is not None:
        del left[key]
    return text


def _take_slug(left: dict[str, Any], *keys: str) -> str | None:
    for key in keys:
        value = left.get(key)
        if isinstance(value, dict):
            slug = _text_of(value.get("slug"))
            if slug is not None and len(value) == 1:
                del left[key]
        else:
            slug = _take(left, key)
        if slug is not None:
            return slug
    return None
