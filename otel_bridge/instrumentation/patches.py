"""Puts the wrappers into the vendor's modules, whenever these are imported, and takes them out again."""

from __future__ import annotations

import inspect
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import wrapt
from opentelemetry import context

from otel_bridge.instrumentation.targets import OPENERS, POOL, SESSION, TARGETS, TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from types import ModuleType

    from opentelemetry.context import Context

    from otel_bridge.instrumentation.tracing import Tracing

_logger: Final = logging.getLogger(__name__)
_EXECUTOR: Final = "ThreadPoolExecutor"


class ContextThreadPoolExecutor(ThreadPoolExecutor):
    """Runs each task in the OpenTelemetry context it was submitted in; the plain pool has none of it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a task."""
        return super().submit(_run_in, context.get_current(), fn, args, kwargs)


def _run_in(where: Context, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    token = context.attach(where)
    try:
        return fn(*args, **kwargs)
    finally:
        context.detach(token)


class Patches:
    """The changes to the vendor's modules, made once and reverted together.

    A module that is not there yet is changed when it is imported, so that turning the instrumentor on imports
    nothing.
    """

    def __init__(self) -> None:
        self._tracing: Tracing | None = None
        self._awaited: set[str] = set()
        self._undo: list[Callable[[], None]] = []
        self._done: set[str] = set()

    def apply(self, tracing: Tracing) -> None:
        """Change the modules that are there, and the others as they come."""
        self._tracing = tracing
        for name in (TOOLS, SESSION, POOL):
            module = sys.modules.get(name)
            if module is not None:
                self._change(module, name)
            elif name not in self._awaited:
                self._awaited.add(name)
                wrapt.register_post_import_hook(self._imported(name), name)

    def revert(self) -> None:
        """Put everything back."""
        self._tracing = None
        while self._undo:
            self._undo.pop()()
        self._done.clear()

    def _imported(self, name: str) -> Callable[[ModuleType], None]:
        def imported(module: ModuleType) -> None:
            if self._tracing is not None:
                self._change(module, name)

        return imported

    def _change(self, module: ModuleType, name: str) -> None:
        if name in self._done or self._tracing is None:
            return
        self._done.add(name)
        try:
            if name == POOL:
                self._change_pool(module)
            else:
                self._wrap_targets(module, name, self._tracing)
        except Exception:
            _logger.debug("%s could not be instrumented", name, exc_info=True)

    def _wrap_targets(self, module: ModuleType, name: str, tracing: Tracing) -> None:
        for target in (*TARGETS, *OPENERS):
            if target.module != name:
                continue
            # A package may show fewer classes than the module in it that defines them.
            shown = getattr(module, target.shown, None)
            home = sys.modules.get(getattr(shown, "__module__", ""), module)
            cls = getattr(home, target.cls, None)
            method = vars(cls).get(target.method) if isinstance(cls, type) else None
            if not inspect.isfunction(method):
                if not target.cls.endswith("WithRawResponse"):
                    _logger.debug("%s has no %s.%s: not traced", name, target.cls, target.method)
                continue
            if target in OPENERS:
                wrapper = tracing.opening(target)
            else:
                takes_headers = "extra_headers" in inspect.signature(method).parameters
                wrapper = tracing.wrapper(replace(target, takes_headers=takes_headers))
            wrapt.wrap_function_wrapper(cls, target.method, wrapper)
            self._undo.append(_putting_back(cls, target.method, method))

    def _change_pool(self, module: ModuleType) -> None:
        if getattr(module, _EXECUTOR, None) is not ThreadPoolExecutor:
            _logger.debug("%s has no %s: left as it is", module.__name__, _EXECUTOR)
            return
        setattr(module, _EXECUTOR, ContextThreadPoolExecutor)
        self._undo.append(_putting_back(module, _EXECUTOR, ThreadPoolExecutor))


def _putting_back(owner: Any, name: str, original: Any) -> Callable[[], None]:
    return lambda: setattr(owner, name, original)
