"""The commands: thin, each a few lines over the service."""

import logging
import os

# grpc writes its own remarks to standard error ("Got goaway"); what matters comes back as an error. It reads
# this when it is first imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# While it is imported the SDK reads OTEL_RESOURCE_ATTRIBUTES and remarks on them; the settings say it better.
logging.getLogger("opentelemetry").addHandler(logging.NullHandler())

from otel_bridge.cli.main import main  # noqa: E402 - after what has to be there first

__all__ = ["main"]
