"""The commands: thin, each a few lines over the service."""

import os

# grpc writes its own remarks to standard error ("Got goaway"); what matters comes back as an error. It reads
# this when it is first imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from otel_bridge.cli.main import main

__all__ = ["main"]
