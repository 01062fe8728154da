"""Secrets inside free text: e-mail addresses, bearer tokens, vendors' keys, card numbers, ``password=…``.

Every pattern takes time in proportion to the text: it begins only where a word begins, and its repetitions
are bounded or possessive, so nothing is scanned again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from otel_bridge.mapping.secret_keys import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

REDACTED: Final = "[REDACTED]"

_EMAIL: Final = re.compile(r"(?<![\w.%+\-])[\w.%+\-]++@(?:[\w\-]++\.)++[\w\-]++")
_URL_PASSWORD: Final = re.compile(r"(?<=://)([^\s/:@?#]*+):(?!\[REDACTED\]@)[^\s/@]++@")
_BEARER: Final = re.compile(r"\b(bearer[ \t]{1,4})([\w.~+/=\-]{4,})", re.IGNORECASE)
_PEM: Final = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----")
_PEM_END: Final = re.compile(r"-----END [A-Z ]{0,40}PRIVATE KEY-----")
# Prefixes that vendors publish for their keys, and JSON Web Tokens.
_VENDOR_KEY: Final = re.compile(
    r"(?<![A-Za-z0-9_\-])(?:"
    r"(?:ak_|uak_|oak_|sk-|sk_live_|sk_test_|rk_live_|rk_test_|pk_live_|whsec_|gh[opsur]_|github_pat_|glpat-"
    r"|xox[abeoprs]-|xapp-|AIza|ya29\.|npm_|hf_|pypi-|lin_api_|lin_oauth_|ntn_|SG\.|shpat_|dop_v1_)"
    r"[A-Za-z0-9_.\-]{6,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{12,}"
    r"|eyJ[A-Za-z0-9_\-]{5,}+\.[A-Za-z0-9_\-]{5,}+(?:\.[A-Za-z0-9_\-]*+)?"
    r")"
)
# What each alternative above begins with, or nearly so: quickly seen to be absent.
_VENDOR_HINT: Final = re.compile(
    r"ak_|sk[\-_]|[rp]k_|whsec_|gh[opsur]_|github_pat_|glpat-|xox|xapp-|AIza|ya29\.|npm_|hf_|pypi-|lin_|ntn_|SG\."
    r"|shpat_|dop_v1_|A[KS]IA|eyJ"
)
_SHORTEST_VENDOR_KEY: Final = 9
_SHORTEST_CARD: Final = 13
_CARD_HINT: Final = re.compile(r"\d{4}")
# 13 to 19 digits in one piece, or in the groups printed on cards. Issuers' numbers begin with 2 to 6, which
# times in ms or ns do not.
_CARD: Final = re.compile(
    r"(?<![\d.])(?:[2-6]\d{12,18}|[2-6]\d{3}([ \-])\d{4}\1\d{4}\1\d{1,7}|3\d{3}([ \-])\d{6}\2\d{5})(?!\d)"
)
_CARD_LENGTHS: Final = frozenset({13, 14, 15, 16, 19})

# A key and what separates it from its value. Two words where the first alone says too little: "api key: …".
_KEY: Final = re.compile(
    r"(?<![\w.\-])((?:(?:api|access|private|secret|security|card)[ ])?[\w.\-]++)"
    r"\\{0,8}[\"']?[ \t]{0,4}[:=][ \t]{0,4}",
    re.IGNORECASE,
)
_QUOTE: Final = re.compile(r"\\{0,8}[\"']")
_SCHEME: Final = re.compile(r"(?:bearer|basic|digest|token|negotiate|apikey)[ \t]{1,4}", re.IGNORECASE)
_BARE_VALUE: Final = re.compile(r"[^\s&,;\"'<>]++")
_REST_OF_LINE: Final = re.compile(r"[^\r\n\"']*+")
_COUNT: Final = re.compile(r"\d{1,12}(?![\w.\-])")
_PROSE_AFTER_BEARER: Final = frozenset(
    """
    auth authentication authorization credential credentials error expired failed header invalid missing
    realm required scheme token tokens type
    """.split()  # noqa: SIM905 - a list of words reads better as words
)


def mask_text(text: str, verdict: Callable[[str], Verdict]) -> str:
    """Mask what looks like a secret.

    Args:
        text: Any text.
        verdict: Says of a key whether its value is masked.
    """
    if ":" in text or "=" in text:
        if "-----BEGIN" in text:
            text = _mask_private_keys(text)
        if "://" in text:
            text = _URL_PASSWORD.sub(rf"\1:{REDACTED}@", text)
        text = _mask_pairs(text, verdict)
    elif "-----BEGIN" in text:
        text = _mask_private_keys(text)
    if "earer" in text or "EARER" in text:
        text = _BEARER.sub(_masked_bearer, text)
    if len(text) >= _SHORTEST_VENDOR_KEY and _VENDOR_HINT.search(text):
        text = _VENDOR_KEY.sub(REDACTED, text)
    if "@" in text:
        text = _EMAIL.sub(REDACTED, text)
    if len(text) >= _SHORTEST_CARD and _CARD_HINT.search(text):
        text = _CARD.sub(_masked_card, text)
    return text


def is_card_number(digits: str) -> bool:
    """Whether these digits have the length, the beginning and the check digit (Luhn) of a card number."""
    if len(digits) not in _CARD_LENGTHS or not "2" <= digits[0] <= "6":
        return False
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + index % 2)
        total += value - 9 if value > 9 else value  # noqa: PLR2004 - Luhn: the digits' sum
    return total % 10 == 0


def _masked_card(match: re.Match[str]) -> str:
    digits = "".join(char for char in match[0] if char.isdecimal())
    return REDACTED if is_card_number(digits) else match[0]


def _masked_bearer(match: re.Match[str]) -> str:
    if match[2].lower().rstrip(".") in _PROSE_AFTER_BEARER:
        return match[0]
    return match[1] + REDACTED


def _mask_private_keys(text: str) -> str:
    parts = []
    position = 0
    while (begin := _PEM.search(text, position)) is not None:
        end = _PEM_END.search(text, begin.end())
        parts += [text[position : begin.start()], REDACTED]
        if end is None:
            return "".join(parts)  # cut off: what follows is the key
        position = end.end()
    return "".join([*parts, text[position:]])


def _mask_pairs(text: str, verdict: Callable[[str], Verdict]) -> str:
    parts = []
    position = 0
    start = 0
    while (match := _KEY.search(text, start)) is not None:
        start = match.end()
        key = match[1]
        decision = verdict(key)
        if decision is Verdict.KEEP:
            continue
        if decision is Verdict.MASK_UNLESS_NUMBER and _COUNT.match(text, start):
            continue
        begin, end = _value_span(text, start, key)
        if end > begin:
            parts += [text[position:begin], REDACTED]
            position = end
        start = max(start, end)
    return "".join([*parts, text[position:]]) if parts else text


def _value_span(text: str, start: int, key: str) -> tuple[int, int]:
    """Where the value that begins at ``start`` lies, without its quotes or its authorization scheme."""
    quote = _QUOTE.match(text, start)
    if quote is not None:
        return quote.end(), _closing(text, quote[0], quote.end())
    begin = start
    if key.lower().endswith("cookie"):
        form = _REST_OF_LINE
    else:
        form = _BARE_VALUE
        scheme = _SCHEME.match(text, start)
        begin = scheme.end() if scheme is not None else start
    if text.startswith(REDACTED, begin):
        return begin, begin + len(REDACTED)
    if text.startswith(("{", "["), begin):
        # Broken JSON, or it would have been read as JSON: where the value ends can't be told.
        return begin, len(text)
    value = form.match(text, begin)
    return begin, value.end() if value is not None else begin


def _closing(text: str, quote: str, start: int) -> int:
    # A quote with more backslashes before it than the opening one belongs to the value.
    end = text.find(quote, start)
    while end > start and text[end - 1] == "\\":
        end = text.find(quote, end + 1)
    return end if end >= 0 else len(text)
