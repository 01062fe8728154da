"""The endpoints keep to what their OpenAPI file says, whatever they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection
from starlette.routing import Route
from web_stage import Stage, busy, served

from otel_bridge.service.reasons import Code
from otel_bridge.web.app import OPENAPI, create_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

schema = schemathesis.openapi.from_dict(yaml.safe_load(OPENAPI))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoints of a service with trouble, behind their real server."""
    with served(lambda: busy(tmp_path_factory.mktemp("stage"))) as url:
        yield url


@schema.parametrize()
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_the_file_says(case: schemathesis.Case[Any], address: str) -> None:
    # Whether the bridge is ready is told by 503: no error of the server.
    excluded: list[schemathesis.CheckFunction] = [not_a_server_error]
    if isinstance(case.body, list):
        # What is wrong with one correlation of a list is told beside it; too many of them is 413.
        excluded.append(negative_data_rejection)
    answer = case.call_and_validate(base_url=address, timeout=10, excluded_checks=excluded)
    assert answer.status_code < 500 or (answer.status_code == 503 and case.path == "/readyz")


def test_the_file_names_every_route_and_no_other(tmp_path: Path) -> None:
    routes = {
        (route.path, method.lower())
        for route in create_app(Stage(tmp_path).running).routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    }
    described = yaml.safe_load(OPENAPI)["paths"]
    assert {(path, method) for path, methods in described.items() for method in methods} == routes


def test_the_file_names_every_reason() -> None:
    reason = yaml.safe_load(OPENAPI)["components"]["schemas"]["Reason"]["properties"]["reason"]
    assert reason["enum"] == [code.value for code in Code]
