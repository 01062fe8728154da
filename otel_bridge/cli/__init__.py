"""The commands: thin, each a few lines over the service."""

import logging
import os

from otel_bridge.environment import prepare
from otel_bridge.left_out import left_out

# Before anything reads it: some libraries do while they are imported.
prepare(os.environ)

# grpc writes its own remarks to standard error ("Got goaway"); what matters comes back as an error. It reads
# this when it is first imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# While it is imported the SDK reads OTEL_RESOURCE_ATTRIBUTES and remarks on them; the settings say it better.
logging.getLogger("opentelemetry").addHandler(logging.NullHandler())

# httpx brings its own command line, and with that rich and pygments, wherever these are installed: 4 MB.
with left_out("httpx._main"):
    import httpx  # noqa: F401 - for everybody after

from otel_bridge.cli.main import main  # noqa: E402 - after what has to be there first

__all__ = ["main"]
