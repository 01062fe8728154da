"""The attributes of a span and of a log record, always in the same order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_bridge.mapping import conventions as c
from otel_bridge.mapping.content import event_value, span_value
from otel_bridge.mapping.values import NAME_BYTES, attribute_name, flat, limited_text, present, size_of
from otel_bridge.signals import SpanKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_bridge.mapping.facts import Facts
    from otel_bridge.mapping.identity import Identity
    from otel_bridge.mapping.masking import Masker
    from otel_bridge.mapping.options import MappingOptions
    from otel_bridge.receiver.models import Detail
    from otel_bridge.signals import AttributeValue

MOST_KEYS: Final = 32
"""How many other keys of ``metadata``, and how many of ``metrics``, become attributes."""

_OPTIONAL: Final = (c.TOOL_CALL_ARGUMENTS, c.TOOL_CALL_RESULT, c.DATA, c.METADATA_PREFIX, c.METRICS_PREFIX)
_OVERHEAD_BYTES: Final = 16  # of one attribute: tags and lengths
_FEWEST_BYTES: Final = 64


def span_attributes(
    record: Detail,
    facts: Facts,
    identity: Identity,
    options: MappingOptions,
    masker: Masker,
) -> dict[str, AttributeValue]:
    """Everything a span says of its call. ``composio.truncated`` counts what was left out."""
    limit = options.attribute_bytes
    attributes: dict[str, AttributeValue] = {c.OPERATION_NAME: c.EXECUTE_TOOL}
    if facts.tool:
        attributes[c.TOOL_NAME] = limited_text(facts.tool, limit)
    attributes[c.TOOL_TYPE] = c.EXTENSION
    attributes.update(facts.identifying)
    attributes.update(_circumstances(record, facts, limit))
    attributes[c.TIMING_SOURCE] = facts.timing.source.value
    if options.server_address:
        attributes[c.SERVER_ADDRESS] = limited_text(options.server_address, limit)
    if options.span_kind is SpanKind.CLIENT and facts.toolkit:
        attributes[c.SERVICE_PEER_NAME] = attributes[c.PEER_SERVICE] = limited_text(facts.toolkit, limit)
    if identity.parent_missing:
        attributes[c.PARENT_MISSING] = True
    if facts.content is not None and options.content.on_span:
        if facts.content.arguments is not None:
            attributes[c.TOOL_CALL_ARGUMENTS] = span_value(facts.content.arguments, limit)
        if facts.content.result is not None:
            attributes[c.TOOL_CALL_RESULT] = span_value(facts.content.result, limit)
    left_out = _add_others(attributes, record, facts, options, masker)
    return _bounded(attributes, left_out, options)


def log_attributes(
    record: Detail, facts: Facts, options: MappingOptions, masker: Masker
) -> dict[str, AttributeValue]:
    """What identifies a record, so that a person can filter without a join.

    A record that makes no span has nowhere else to say the rest, so it says all of it here.
    """
    limit = options.attribute_bytes
    attributes: dict[str, AttributeValue] = {c.LOG_RECORD_UID: limited_text(record.id, limit)}
    if record.is_tool_execution:
        attributes[c.OPERATION_NAME] = c.EXECUTE_TOOL
    if facts.tool:
        attributes[c.TOOL_NAME] = limited_text(facts.tool, limit)
    attributes.update(facts.identifying)
    if record.is_tool_execution:
        # Log stores add numbers up where trace stores can't: the charge is text, to stay exact.
        attributes.update(present({c.CHARGE_USD: facts.charge_usd}, limit))
    else:
        attributes.update(_circumstances(record, facts, limit))
    if facts.content is not None and options.content.on_event:
        result = c.TOOL_CALL_RESULT if record.is_tool_execution else c.DATA
        if facts.content.arguments is not None:
            attributes[c.TOOL_CALL_ARGUMENTS] = event_value(facts.content.arguments, limit)
        if facts.content.result is not None:
            attributes[result] = event_value(facts.content.result, limit)
    left_out = 0
    if not record.is_tool_execution:
        left_out = _add_others(attributes, record, facts, options, masker)
    return _bounded(attributes, left_out, options)


def _circumstances(record: Detail, facts: Facts, limit: int) -> dict[str, str]:
    source = record.source
    texts: dict[str, str | None] = {}
    if source is not None:
        texts[c.SOURCE_HOST] = source.host
        texts[c.SOURCE_FRAMEWORK] = source.framework
        texts[c.SOURCE_LANGUAGE] = source.language
    texts[c.CREDENTIAL_SOURCE] = facts.credential_source
    texts[c.CHARGE_USD] = facts.charge_usd
    return present(texts, limit)


def _add_others(
    attributes: dict[str, AttributeValue],
    record: Detail,
    facts: Facts,
    options: MappingOptions,
    masker: Masker,
) -> int:
    """Add every other key of metadata and metrics; returns how many there was no room for."""
    limit = options.attribute_bytes
    return _add_keys(attributes, c.METADATA_PREFIX, facts.other_metadata, limit, masker) + _add_keys(
        attributes, c.METRICS_PREFIX, record.metrics, limit, masker
    )


def _add_keys(
    attributes: dict[str, AttributeValue],
    prefix: str,
    values: Mapping[str, Any],
    limit: int,
    masker: Masker,
) -> int:
    if not values:
        return 0
    keys = sorted([key for key, value in values.items() if value is not None])
    left_out = max(0, len(keys) - MOST_KEYS)
    for key in keys[:MOST_KEYS]:
        name = attribute_name(prefix, masker.key(key))
        if name in attributes:
            left_out += 1  # two keys that differ in white space alone: the first one stays
        else:
            attributes[name] = flat(masker.entry(key, values[key]), limit)
    return left_out


def _bounded(
    attributes: dict[str, AttributeValue], left_out: int, options: MappingOptions
) -> dict[str, AttributeValue]:
    """Keep the whole within ``span_bytes``.

    The largest of content, other metadata and metrics go first (of equals the later one); if what is left is
    still too large, every text is cut to an equal share.
    """
    beside_value = NAME_BYTES + _OVERHEAD_BYTES
    if len(attributes) * (options.attribute_bytes + beside_value) > options.span_bytes:
        sizes = {name: len(name) + size_of(value) + _OVERHEAD_BYTES for name, value in attributes.items()}
        total = sum(sizes.values())
        optional = [name for name in attributes if name.startswith(_OPTIONAL)]
        optional.reverse()
        optional.sort(key=lambda name: sizes[name], reverse=True)
        for name in optional:
            if total <= options.span_bytes:
                break
            del attributes[name]
            total -= sizes[name]
            left_out += 1
        if total > options.span_bytes:
            share = max(_FEWEST_BYTES, options.span_bytes // len(attributes) - beside_value)
            attributes = {
                name: limited_text(value, share) if isinstance(value, str) else value
                for name, value in attributes.items()
            }
    if left_out:
        attributes[c.TRUNCATED] = left_out
    return attributes
