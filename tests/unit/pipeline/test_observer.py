"""Every listener hears everything, and who listens to nothing is left alone."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from otel_bridge.pipeline.observer import NO_OBSERVER, Observer, Observers

SAID = [name for name, _ in inspect.getmembers(Observer, inspect.isfunction) if not name.startswith("_")]


def arguments_of(name: str) -> list[Any]:
    return [object() for _ in list(inspect.signature(getattr(Observer, name)).parameters)[1:]]


@pytest.mark.parametrize("name", SAID)
def test_each_listener_hears_it_with_all_that_was_said(name: str) -> None:
    heard: list[tuple[int, tuple[Any, ...]]] = []

    def listener(number: int) -> Observer:
        made = Observer()
        setattr(made, name, lambda *arguments: heard.append((number, arguments)))
        return made

    said = arguments_of(name)
    getattr(Observers(listener(1), listener(2)), name)(*said)
    assert heard == [(1, tuple(said)), (2, tuple(said))]


@pytest.mark.parametrize("name", SAID)
def test_nobody_does_nothing(name: str) -> None:
    assert getattr(NO_OBSERVER, name)(*arguments_of(name)) is None
