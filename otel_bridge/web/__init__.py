"""The HTTP endpoints of ``run``: health, metrics, status, the page, and where correlations come in."""

from otel_bridge.web.server import endpoints

__all__ = ["endpoints"]
