"""Values as tools write them, made what a person meant: the one place where they are cleaned.

A file that Windows saved gives every value a carriage return, an editor puts a byte-order mark in front,
``docker run --env-file`` keeps quotes that a shell takes off, a mounted secret ends in a line break.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

# A byte-order mark of UTF-8 as text, as Latin-1 reads it, and as an ASCII locale keeps it.
_MARK: Final = re.compile("^(?:\ufeff|\u00ef\u00bb\u00bf|\udcef\udcbb\udcbf)+")
# White space, and the characters without width that copying from a page brings along.
_AROUND: Final = re.compile("^[\\s\ufeff\u200b\u200e\u200f\u2060]+|[\\s\ufeff\u200b\u200e\u200f\u2060]+$")
_QUOTES: Final = ('"', "'")
_WIDE: Final = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# The SDK's limits, and not the bridge's own settings whose names end alike.
_LIMIT: Final = re.compile(r"OTEL_(?!BRIDGE_)\w*_LIMIT")


def trimmed(text: str) -> str:
    """A text without a byte-order mark and without white space around it."""
    return _AROUND.sub("", _MARK.sub("", text))


def cleaned(text: str) -> str:
    r"""A value without what tools put around it: a mark, white space, quotes.

    Quotes come off where one pair encloses all of the value and none of their kind is within. No setting
    takes a value with quotes around all of it. Cleaning twice gives the same as once.

    Example:
        >>> cleaned('"ak_1"\r')
        'ak_1'
        >>> cleaned('name="a b"')
        'name="a b"'
    """
    text = trimmed(text)
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES
    return cleaned(text[1:-1]) if quoted and text[0] not in text[1:-1] else text


def decoded(raw: bytes) -> str:
    """A file's text: UTF-8, or what its byte-order mark says, such as the UTF-16 that PowerShell writes.

    Raises:
        UnicodeDecodeError: It is no text in that encoding.
    """
    wide = next((encoding for mark, encoding in _WIDE.items() if raw.startswith(mark)), None)
    return raw.decode(wide or "utf-8-sig")


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """A copy with every value cleaned. A name loses a mark that it has from the first line of a file."""
    named = {name: _MARK.sub("", name) for name in environ}
    return {
        named[name]: cleaned(value)
        for name, value in environ.items()
        if named[name] == name or named[name] not in environ
    }


def prepare(environ: MutableMapping[str, str]) -> None:
    """Clean the process's own environment, for the libraries that read it: proxies, certificates, databases.

    The SDK's limits (``OTEL_ATTRIBUTE_COUNT_LIMIT`` and its like) are taken out. They are meant for an
    application's spans, the bridge bounds its own, and the SDK fails while it is imported where one is no
    number.
    """
    meant = {name: value for name, value in clean_environment(environ).items() if not _LIMIT.fullmatch(name)}
    for name in environ.keys() - meant.keys():
        del environ[name]
    environ.update((name, value) for name, value in meant.items() if environ.get(name) != value)
