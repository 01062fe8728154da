"""TLS for gRPC, from PEM files. Apart from HTTP's, because gRPC is loaded only where it is used."""

from __future__ import annotations

import grpc

from otel_bridge.exporter import tls
from otel_bridge.network import trust


def credentials(
    certificate: str | None, client_certificate: str | None, client_key: str | None
) -> grpc.ChannelCredentials:
    """Make what a gRPC channel needs; arguments and errors as `tls.context`."""
    tls.context(certificate, client_certificate, client_key)  # gRPC itself would say nothing of a bad file
    return grpc.ssl_channel_credentials(
        tls.read(certificate) if certificate else trust.authorities(),
        tls.read(client_key) if client_key else None,
        tls.read(client_certificate) if client_certificate else None,
    )
