"""Certificates for tests of TLS, made by the openssl program."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_OPENSSL = shutil.which("openssl") or "openssl"


@dataclass(frozen=True)
class Certificates:
    """An authority, and what it has signed for ``localhost`` and for a client."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path
    encrypted_key: Path


def make_certificates(folder: Path) -> Certificates:
    """Make all of them, as PEM files."""
    authority, authority_key = folder / "ca.pem", folder / "ca.key"
    _openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
        *("-subj", "/CN=test authority", "-keyout", str(authority_key), "-out", str(authority)),
    )
    for name in ("server", "client"):
        request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        _openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", f"/CN={name}", "-keyout", str(folder / f"{name}.key"), "-out", str(request)),
        )
        _openssl(
            *("x509", "-req", "-in", str(request), "-CA", str(authority), "-CAkey", str(authority_key)),
            *(
                "-CAcreateserial",
                "-days",
                "2",
                "-extfile",
                str(extensions),
                "-out",
                str(folder / f"{name}.pem"),
            ),
        )
    encrypted = folder / "encrypted.key"
    _openssl(
        *("pkcs8", "-topk8", "-in", str(folder / "client.key"), "-out", str(encrypted)),
        *("-passout", "pass:secret"),
    )
    return Certificates(
        authority=authority,
        server=folder / "server.pem",
        server_key=folder / "server.key",
        client=folder / "client.pem",
        client_key=folder / "client.key",
        encrypted_key=encrypted,
    )


def _openssl(*arguments: str) -> None:
    subprocess.run([_OPENSSL, *arguments], check=True, capture_output=True, timeout=30)
