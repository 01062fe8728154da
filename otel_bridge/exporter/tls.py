"""TLS from PEM files."""

from __future__ import annotations

import ssl
from pathlib import Path

from otel_bridge.errors import SettingsError
from otel_bridge.network import trust


class Unusable(SettingsError):  # noqa: N818 - the settings name the variable as well
    """A file can't be used.

    Args:
        path: Which one.
        reason: What is wrong with it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} can't be used for TLS: {reason}")
        self.path = path
        self.reason = reason


def context(
    certificate: str | None, client_certificate: str | None, client_key: str | None
) -> ssl.SSLContext:
    """Make what an HTTPS connection needs.

    Args:
        certificate: A PEM file of the authorities to trust; None for those that `network.trust` finds.
        client_certificate: For mTLS, a PEM file; goes with the next.
        client_key: For mTLS, a PEM file, not encrypted.

    Raises:
        Unusable: A file can't be read, holds no PEM, or key and certificate do not belong together.
        SettingsError: What the environment names can't be used.
    """
    made = _trusting(certificate) if certificate else trust.context()
    if client_certificate and client_key:
        for path in (client_certificate, client_key):
            read(path)
        try:
            # An empty password makes an encrypted key an error; without one OpenSSL asks at the terminal.
            made.load_cert_chain(client_certificate, client_key, password="")
        except ssl.SSLError:
            reason = "key and certificate are no PEM, no pair, or the key is encrypted"
            raise Unusable(client_key, reason) from None
    return made


def distrust(reason: str) -> str:
    """Say that a destination's certificate is not trusted.

    Args:
        reason: As OpenSSL has it; empty where it is not known.
    """
    return f"its certificate is not trusted{reason and ': '}{reason}"


def _trusting(path: str) -> ssl.SSLContext:
    read(path)
    try:
        return ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise Unusable(path, "no certificate in it is PEM") from None


def read(path: str) -> bytes:
    """A file's bytes.

    Raises:
        Unusable: It can't be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Unusable(path, (error.strerror or "can't be read").lower()) from None
    except ValueError:
        raise Unusable(path, "no path") from None
