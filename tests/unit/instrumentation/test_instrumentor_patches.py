"""What is changed in the vendor's modules, what is not there, and what the package itself needs."""

from __future__ import annotations

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import wrapt
from instrumented_client import instrumented
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from otel_bridge.instrumentation import ComposioInstrumentor
from otel_bridge.instrumentation.patches import ContextThreadPoolExecutor, Patches
from otel_bridge.instrumentation.targets import POOL, SESSION, TOOLS
from otel_bridge.instrumentation.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Callable

ALONE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        allowed = (
            "otel_bridge", "otel_bridge._version", "otel_bridge.environment", "otel_bridge.instrumentation"
        )
        mine = name in allowed or name.startswith("otel_bridge.instrumentation.")
        if name.startswith("otel_bridge") and not mine:
            raise ImportError("blocked: " + name)
        if name.partition(".")[0] in {
            "httpx", "pydantic", "pydantic_settings", "composio", "composio_client", "grpc", "google", "yaml",
            "starlette", "uvicorn", "typer", "rich", "requests", "prometheus_client",
        } or name.startswith(("opentelemetry.sdk", "opentelemetry.proto", "opentelemetry.exporter")):
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Blocked())
from otel_bridge.instrumentation import ComposioInstrumentor
ComposioInstrumentor().instrument()
ComposioInstrumentor().instrument(skip_dep_check=True)
print("fine")
"""


def test_it_works_where_nothing_of_the_bridge_is() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr


def test_opentelemetry_instrument_finds_it() -> None:
    (found,) = entry_points(group="opentelemetry_instrumentor", name="composio")
    assert found.load() is ComposioInstrumentor


def test_the_clients_that_are_installed_fit() -> None:
    assert ComposioInstrumentor()._check_dependency_conflicts() is None


def module_of(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name)
    for key, value in content.items():
        if isinstance(value, type):
            value.__module__ = name
        setattr(module, key, value)
    return module


def tracing() -> Tracing:
    return Tracing(TracerProvider().get_tracer("t"))


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType], None]:
    """Put a module in the place of the vendor's."""
    for name in (TOOLS, SESSION, POOL):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    return lambda module: monkeypatch.setitem(sys.modules, module.__name__, module)


def test_a_version_without_a_method_is_left_as_it_is(
    modules: Callable[[ModuleType], None], caplog: pytest.LogCaptureFixture
) -> None:
    def execute(self: Any, tool_slug: str) -> str:  # noqa: ARG001 - a method
        return tool_slug

    modules(module_of(TOOLS, ToolsResource=type("ToolsResource", (), {"execute": execute})))
    patches = Patches()
    with caplog.at_level(logging.DEBUG, "otel_bridge.instrumentation"):
        patches.apply(tracing())
        patches.apply(tracing())
    assert caplog.text.count("has no SessionResource.execute_meta") == 1
    assert "has no ThreadPoolExecutor" in caplog.text
    # It takes no headers, and is given none.
    assert sys.modules[TOOLS].ToolsResource().execute("SLACK_SEND_MESSAGE") == "SLACK_SEND_MESSAGE"
    patches.revert()
    assert sys.modules[TOOLS].ToolsResource.execute is execute


def test_a_module_that_can_not_be_changed_does_no_harm(
    modules: Callable[[ModuleType], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError

    modules(module_of(TOOLS, ToolsResource=type("ToolsResource", (), {"execute": lambda _: 1})))
    monkeypatch.setattr(wrapt, "wrap_function_wrapper", fails)
    with caplog.at_level(logging.DEBUG, "otel_bridge.instrumentation"):
        Patches().apply(tracing())
    assert f"{TOOLS} could not be instrumented" in caplog.text
    assert sys.modules[TOOLS].ToolsResource().execute() == 1


def test_a_module_is_changed_when_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    hooks: dict[str, Callable[[ModuleType], None]] = {}
    monkeypatch.setattr(
        wrapt,
        "register_post_import_hook",
        lambda hook, name: hooks.setdefault(name, hook),
    )
    for name in (TOOLS, SESSION, POOL):
        monkeypatch.delitem(sys.modules, name, raising=False)
    patches = Patches()
    patches.apply(tracing())
    assert set(hooks) == {TOOLS, SESSION, POOL}
    module = module_of(POOL, ThreadPoolExecutor=ThreadPoolExecutor)
    ThreadPoolExecutor.__module__ = "concurrent.futures.thread"
    hooks[POOL](module)
    assert module.ThreadPoolExecutor is ContextThreadPoolExecutor
    patches.revert()
    assert module.ThreadPoolExecutor is ThreadPoolExecutor
    hooks[POOL](module)
    assert module.ThreadPoolExecutor is ThreadPoolExecutor


def test_the_pool_runs_tasks_under_the_span_they_were_submitted_in() -> None:
    def current() -> int:
        return trace.get_current_span().get_span_context().span_id

    with instrumented() as recorded, ContextThreadPoolExecutor(1) as pool:
        with recorded.tracer.start_as_current_span("request") as span:
            inside = pool.submit(current)
        outside = pool.submit(current)
        assert inside.result() == span.get_span_context().span_id
        assert outside.result() == 0
