"""How the SDK's HTTP exporters send: as the settings say, and nothing from the environment in between.

Left to itself, requests takes ``REQUESTS_CA_BUNDLE`` for stronger than a certificate that was given, and the
SDK adds the headers of ``OTEL_EXPORTER_OTLP_HEADERS`` to those it was told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_bridge.left_out import left_out

# It guesses the encoding of an answer that names none, for 2 MB. OTLP's answers are protobuf.
with left_out("chardet", "charset_normalizer"):
    import requests

if TYPE_CHECKING:
    from collections.abc import Mapping

_OF_THE_EXPORTER: Final = frozenset({"content-type", "content-encoding", "user-agent"})


class Session(requests.Session):
    """Sends to one destination.

    Args:
        headers: The destination's; of others only those that describe the body.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__()
        self._kept = _OF_THE_EXPORTER | {name.lower() for name in headers}

    def request(self, *arguments: Any, **options: Any) -> Any:
        """As requests does, with the destination's headers alone."""
        headers = options.get("headers") or {}
        options["headers"] = {name: value for name, value in headers.items() if name.lower() in self._kept}
        return super().request(*arguments, **options)

    def merge_environment_settings(self, *arguments: Any, **options: Any) -> Any:
        """As requests does; proxies come from the environment, a certificate that was given does not."""
        merged = super().merge_environment_settings(*arguments, **options)
        if self.verify is not True:
            merged["verify"] = self.verify
        return merged
