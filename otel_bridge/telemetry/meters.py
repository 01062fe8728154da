"""The metrics of one running bridge: takes values by their declarations, shows and sends them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider

from otel_bridge import __version__
from otel_bridge.mapping.conventions import SCOPE_NAME
from otel_bridge.telemetry.catalogue import CATALOGUE
from otel_bridge.telemetry.declaration import Kind, Metric
from otel_bridge.telemetry.prometheus import histogram, labels, numbers, target_info
from otel_bridge.telemetry.readers import OtlpReader
from otel_bridge.telemetry.series import MOST_SERIES, Counts, Distribution, Key, attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opentelemetry.metrics import CallbackOptions
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.resources import Resource

# The promise for a whole stop is 10 s, and the batch in hand comes first.
_SHUTDOWN_MS: Final = 1_500


class Meters:
    """Every metric of the catalogue, and no other. Several can live in one process: nothing is global.

    Args:
        own: The bridge's resource.
        tool_calls: The resource of the metrics that speak of tool calls.
        exporter: Sends metrics over OTLP; None where only Prometheus asks for them.
        interval_ms: How often, in ms.
        sends_own: Whether the bridge's own metrics are sent as well, or the tool calls' alone.
        most_series: The most sets of attributes of one metric.
    """

    def __init__(  # noqa: PLR0913 - each with its name and default
        self,
        own: Resource,
        tool_calls: Resource,
        *,
        exporter: MetricExporter | None = None,
        interval_ms: int = 60_000,
        sends_own: bool = True,
        most_series: int = MOST_SERIES,
    ) -> None:
        self._counts = {
            metric: Counts(metric, most_series) for metric in CATALOGUE if metric.kind is Kind.COUNTER
        }
        self._distributions = {
            metric: Distribution(metric, most_series) for metric in CATALOGUE if metric.kind is Kind.HISTOGRAM
        }
        self._observed: dict[Metric, list[Callable[[], Iterable[tuple[float, Key]]]]] = {}
        self._own = {name: str(value) for name, value in own.attributes.items()}
        self._provider: MeterProvider | None = None
        if exporter is None:
            return
        histograms = tuple(self._distributions.values())
        reader = OtlpReader(exporter, histograms, tool_calls, interval_ms=interval_ms, own=sends_own)
        self._provider = MeterProvider(
            [reader], resource=own, exemplar_filter=AlwaysOffExemplarFilter(), shutdown_on_exit=False
        )
        meter = self._provider.get_meter(SCOPE_NAME, __version__)
        for metric, counts in self._counts.items():
            callbacks = [counts.observe, self._callback(metric)]
            meter.create_observable_counter(metric.name, callbacks, metric.unit, metric.description)
        observable = {
            Kind.GAUGE: meter.create_observable_gauge,
            Kind.UP_DOWN_COUNTER: meter.create_observable_up_down_counter,
        }
        for metric in CATALOGUE:
            create = observable.get(metric.kind)
            if create is not None:
                create(metric.name, [self._callback(metric)], metric.unit, metric.description)

    def add(self, metric: Metric, amount: float, *key: str | int | None) -> None:
        """Count.

        Args:
            metric: A counter.
            amount: How much more; 0 makes the series appear, so that its first rise is seen as one.
            *key: The values of its attributes, in the order of its declaration.
        """
        self._counts[metric].add(amount, key)

    def record(self, metric: Metric, value: float, *key: str | int | None) -> None:
        """Take a value of a histogram, in its unit; ``key`` as for ``add``."""
        self._distributions[metric].record(value, key)

    def observe(self, metric: Metric, tell: Callable[[], Iterable[tuple[float, Key]]]) -> None:
        """Ask ``tell`` for a gauge's or a counter's values whenever somebody wants to know them.

        Args:
            metric: A gauge, a counter or an up-down counter.
            tell: Called from any thread; answers at once, and raises nothing.
        """
        self._observed.setdefault(metric, []).append(tell)

    def _callback(self, metric: Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observations(options: CallbackOptions) -> Iterable[Observation]:
            del options
            for value, key in self._told(metric):
                yield Observation(value, attributes(metric, key))

        return observations

    def _told(self, metric: Metric) -> Iterator[tuple[float, Key]]:
        for tell in self._observed.get(metric, ()):
            yield from tell()

    def prometheus_text(self) -> bytes:
        """What ``/metrics`` answers, of the type ``prometheus.CONTENT_TYPE``. From any thread."""
        lines = [*target_info(self._own)]
        for metric in CATALOGUE:
            if metric.kind is Kind.HISTOGRAM:
                lines += histogram(metric, self._distributions[metric].points())
                continue
            points = self._counts[metric].points() if metric.kind is Kind.COUNTER else []
            points += [(labels(attributes(metric, key)), value) for value, key in self._told(metric)]
            lines += numbers(metric, points)
        return "\n".join([*lines, ""]).encode()

    def close(self) -> None:
        """Send what is left, for a bounded time. Blocks: call it off the event loop."""
        if self._provider is not None:
            self._provider.shutdown(timeout_millis=_SHUTDOWN_MS)
