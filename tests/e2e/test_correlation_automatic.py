"""`opentelemetry-instrument python app.py`: an application that was not changed at all."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from bridge_process import KEY, emulator, environment, finish, run
from correlated_traces import APP_SCOPE, assert_stand_under_the_app, backend_of, log_ids_at
from expected_signals import attributes_of
from recording_sink import RecordingSink
from vendor_sdk import GUARDED, ROOT, sdk_python

pytestmark = [pytest.mark.backend, pytest.mark.slow]
PROGRAM = ROOT / "tests" / "sdk" / "plain_app.py"


async def run_automatically(version: str, env: dict[str, str]) -> str:
    """What the application says on its standard output."""
    python = sdk_python(version)
    process = await asyncio.create_subprocess_exec(
        str(Path(python).with_name("opentelemetry-instrument")),
        python,
        str(GUARDED),
        str(PROGRAM),
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    done = await finish(process, 60)
    assert done.status == 0, done.err
    assert "Traceback" not in done.err, done.err
    return done.out.strip()


async def test_an_application_that_was_not_changed_has_its_tool_calls_in_its_traces(tmp_path: Path) -> None:
    async with RecordingSink() as sink, emulator("--logs", "0", folder=tmp_path) as base_url:
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.http_endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_BRIDGE_SIGNALS="traces",
            OTEL_SERVICE_NAME="plain-app",
            OTEL_METRICS_EXPORTER="none",
            OTEL_LOGS_EXPORTER="none",
        )
        traced = await run_automatically("0.30", env)
        left_out = {**env, "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "composio"}
        untraced = await run_automatically("0.30", left_out)
        assert (await run("run", "--once", env=env)).status == 0
        assert sorted(await log_ids_at(base_url)) == sorted([traced, untraced])
        backend = backend_of(sink)
        resources = {
            attributes_of(resource.attributes)["service.name"]
            for resource, scope, _ in sink.spans()
            if scope.name == APP_SCOPE
        }
    assert set(backend.app) == {traced}
    assert resources == {"plain-app"}
    assert not backend.tool_calls.pop(untraced).parent_span_id
    assert_stand_under_the_app(backend, [traced])
    assert {attributes_of(span.attributes)["user.id"] for span in backend.app.values()} == {"user_ada"}
