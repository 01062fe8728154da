"""No streams, variables, answers and words together lead to a traceback, or to "unforeseen".

A few real processes; `tests/unit/cli/test_nothing_is_unforeseen.py` tries many more in its own.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from odd_cases import Case, cases, is_foreseen, placed
from odd_server import OddServer

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAMS = [
    "",
    "<&-",
    ">&-",
    "2>&-",
    "<&- >&- 2>&-",
    ">/dev/full",
    "2>/dev/full",
    "| true",
    "2>&1 >/dev/null | true",
]
ENCODINGS = [
    {},
    {"PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
]


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[OddServer, OddServer]]:
    with OddServer() as source, OddServer() as sink:
        yield source, sink


@pytest.mark.timeout(300)
@examples(max_examples=12, phases=[Phase.generate])
@given(case=cases, streams=st.sampled_from(STREAMS), encoding=st.sampled_from(ENCODINGS))
def test_nothing_is_unforeseen_whatever_the_streams_are(
    servers: tuple[OddServer, OddServer],
    tmp_path_factory: pytest.TempPathFactory,
    case: Case,
    streams: str,
    encoding: dict[str, str],
) -> None:
    folder = tmp_path_factory.mktemp("odd")
    arguments, environ = placed(case, *servers, folder)
    command = f"{shlex.join([sys.executable, '-m', 'otel_bridge', *arguments])} {streams}"
    done = subprocess.run(
        ["/bin/bash", "-c", f"set -o pipefail; {command}"],
        env=environ | encoding,
        cwd=folder,
        capture_output=True,
        timeout=60,
        check=False,
    )
    said = (done.stdout + done.stderr).decode(errors="replace")
    assert is_foreseen(done.returncode, said), said
