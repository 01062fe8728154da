"""Which authorities' certificates are trusted, as the environment says, for HTTP and gRPC alike.

``SSL_CERT_FILE`` names a PEM file, ``SSL_CERT_DIR`` folders of them; either or both take the place of the
built-in authorities. All files of a folder count, whatever their names: OpenSSL itself would find only those
that ``c_rehash`` has named.
"""

from __future__ import annotations

import os
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from otel_bridge.errors import SettingsError
from otel_bridge.file_values import FileValue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_bridge.file_values import Marks

FILE_VARIABLE: Final = "SSL_CERT_FILE"
FOLDER_VARIABLE: Final = "SSL_CERT_DIR"

_CERTIFICATE: Final = re.compile(
    rb"-----BEGIN (X509 |TRUSTED |)CERTIFICATE-----.+?-----END \1CERTIFICATE-----", re.DOTALL
)


def authorities() -> bytes | None:
    """The trusted certificates as PEM; None where neither variable is set, for the built-in ones.

    Raises:
        SettingsError: A variable leads to no certificate.
    """
    file = os.environ.get(FILE_VARIABLE, "").strip()
    folders = os.environ.get(FOLDER_VARIABLE, "").strip()
    if not file and not folders:
        return None
    found = _of_file(file) if file else {}
    for folder in filter(None, folders.split(os.pathsep)):
        found |= _of_folder(Path(folder))
    if not found:
        raise SettingsError(f"{FOLDER_VARIABLE} is {folders!r}: takes a folder with PEM certificates")
    return b"\n".join(found) + b"\n"


def paths(environ: Mapping[str, str]) -> list[str]:
    """The files and folders that the variables name."""
    folders = environ.get(FOLDER_VARIABLE, "").split(os.pathsep)
    return [path for path in (environ.get(FILE_VARIABLE, ""), *folders) if path]


class Authorities:
    """Gives ``context``, made when it is first asked for, and anew when what the variables name changes."""

    def __init__(self) -> None:
        self._made: FileValue[ssl.SSLContext] | None = None

    def __call__(self) -> ssl.SSLContext:
        """The same one until it is renewed.

        Raises:
            SettingsError: As `authorities`, the first time.
        """
        if self._made is None:
            self._made = FileValue(_noted)
        return self._made.get()


def _noted(marks: Marks) -> ssl.SSLContext:
    for path in paths(os.environ):
        marks.note(path)
    return context()


def context() -> ssl.SSLContext:
    """What an HTTPS connection needs to verify a server.

    Raises:
        SettingsError: As `authorities`.
    """
    trusted = authorities()
    if trusted is None:
        return httpx.create_ssl_context(trust_env=False)
    try:
        return ssl.create_default_context(cadata=trusted.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError):
        names = [name for name in (FILE_VARIABLE, FOLDER_VARIABLE) if os.environ.get(name, "").strip()]
        raise SettingsError(f"{' or '.join(names)} leads to a certificate that can't be read") from None


def _of_file(path: str) -> dict[bytes, None]:
    try:
        found = _certificates(Path(path))
        reason = "holds no PEM certificate"
    except OSError as error:
        found, reason = {}, (error.strerror or "can't be read").lower()
    except ValueError:
        found, reason = {}, "no path"
    if not found:
        raise SettingsError(f"{FILE_VARIABLE} is {path!r}: takes a readable PEM file ({reason})")
    return found


def _of_folder(folder: Path) -> dict[bytes, None]:
    found: dict[bytes, None] = {}
    try:
        files = sorted(folder.iterdir())
    except (OSError, ValueError):
        return found
    for file in files:
        try:
            if file.is_file():
                found |= _certificates(file)
        except OSError:
            continue  # a link that leads nowhere, a file of another user: others of the folder still count
    return found


def _certificates(path: Path) -> dict[bytes, None]:
    """Each certificate of a file once, in order: a folder often has a bundle beside single files."""
    return {match[0]: None for match in _CERTIFICATE.finditer(path.read_bytes())}
