"""Print what the image installs besides otel-bridge itself: dependencies, and those of the extras named."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]
for requirement in (*project["dependencies"], *(each for extra in sys.argv[2:] for each in extras[extra])):
    sys.stdout.write(f"{requirement}\n")
