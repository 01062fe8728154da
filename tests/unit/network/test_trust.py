"""Which authorities are trusted: a file, folders, both, or the built-in ones, and never none in silence."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from certificates import Certificates, make_certificates

from otel_bridge.errors import SettingsError
from otel_bridge.network import trust

if TYPE_CHECKING:
    import ssl
    from pathlib import Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


def subjects(context: ssl.SSLContext) -> list[str]:
    return [str(each["subject"][-1][-1][-1]) for each in context.get_ca_certs()]


def test_without_either_the_built_in_authorities_are_trusted() -> None:
    assert trust.authorities() is None
    assert len(trust.context().get_ca_certs()) > 50


def test_a_file_takes_their_place(made: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", f" {made.authority} ")
    assert subjects(trust.context()) == ["test authority"]
    assert trust.authorities() == made.authority.read_bytes()


def test_all_certificates_of_folders_count_whatever_the_files_are_called(
    made: Certificates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "our authority.crt").write_bytes(b"# \xc3\xa4\n" + made.authority.read_bytes())
    (tmp_path / "one" / "again.0").write_bytes(made.authority.read_bytes())
    (tmp_path / "one" / "broken.pem").symlink_to(tmp_path / "gone")
    (tmp_path / "one" / "notes.txt").write_text("none here")
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path / 'missing'}{os.pathsep}{tmp_path / 'one'}")
    assert subjects(trust.context()) == ["test authority"]
    monkeypatch.setenv("SSL_CERT_FILE", str(made.server))
    assert len((trust.authorities() or b"").split(b"BEGIN CERTIFICATE")) == 3, "file and folder"


def test_a_folder_that_is_missing_beside_a_good_file_takes_nothing_away(
    made: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    monkeypatch.setenv("SSL_CERT_DIR", "/nowhere/at/all")
    assert subjects(trust.context()) == ["test authority"]


@pytest.mark.parametrize("held", [None, b"", b"no certificate", b"\xff\xfe\x00"])
def test_what_leads_to_no_certificate_is_told_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, held: bytes | None
) -> None:
    file = tmp_path / "folder" / "ca.pem"
    file.parent.mkdir()
    if held is not None:
        file.write_bytes(held)
    monkeypatch.setenv("SSL_CERT_DIR", str(file.parent))
    with pytest.raises(SettingsError, match=r"^SSL_CERT_DIR is .*: takes a folder with PEM certificates"):
        trust.context()
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(SettingsError, match=r"^SSL_CERT_FILE is .*: takes a readable PEM file"):
        trust.context()


def test_a_broken_certificate_is_told_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(SettingsError, match=r"^SSL_CERT_FILE leads to a certificate that can't be read"):
        trust.context()
