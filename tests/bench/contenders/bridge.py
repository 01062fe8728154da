"""``run --once`` with the settings of the environment and its own options, measured from its import on.

The last line of its output is JSON: the seconds and the seconds of processor time that it took.
"""

from __future__ import annotations

import json
import sys
import time

from otel_bridge.cli.main import main

if __name__ == "__main__":
    sys.argv = ["otel-bridge", "run", "--once", *sys.argv[1:]]
    began, used = time.perf_counter(), time.process_time()
    try:
        main()
    except SystemExit as end:
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - used
        print(json.dumps({"seconds": seconds, "cpu_s": cpu_s, "started_cpu_s": used}))
        if end.code:
            raise
