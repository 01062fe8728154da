"""Which keys hold secrets.

A key is compared after its words are split (at ``-``, ``_``, spaces, dots and changes of case) and put in
lower case, so ``X-API-Key``, ``apiKey`` and ``api key`` are one.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_WORD: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[^\W_A-Za-z]+")

# Anywhere in the key, its words run together. "secretary" is no secret.
_PARTS: Final = re.compile(
    r"passw|pwd|passphrase|passcode|secret(?!ar)|authorization|credential|cookie|cvv|bearer|jwt"
    r"|(?:api|private|access|signing|encryption|session|auth|master|storage|license|ssh)keys?(?!word)"
    r"|cardn(?:umber|um|o)|creditcard|debitcard|securitycode|socialsecurity|onetimecode|backupcode|recoverycode"
)
_WORDS: Final = frozenset({"cvc", "ssn", "otp", "pat"})
_WHOLE: Final = frozenset(
    {"auth", "xauth", "pan", "pin", "pincode", "sessid", "phpsessid", "dsn", "totp", "mfa"}
)
_LAST_WORD: Final = "pass"  # db_pass; but pass_rate is none

# Keys about credentials that hold none: Composio's own, and OAuth's descriptions of a token.
_HARMLESS: Final = frozenset({"credentialsource", "tokentype", "tokenendpoint", "tokenurl", "tokenuri"})
_LIFETIME: Final = frozenset({"expires", "expiry", "expiration", "expire", "ttl", "lifetime"})
_COUNTING: Final = frozenset(
    """
    budget cached completion cost count counts estimate estimated input length limit limits max min num
    output per price prompt rate reasoning remaining size total usage used
    """.split()  # noqa: SIM905 - a list of words reads better as words
)

_CACHED_KEYS: Final = 4096
_CACHED_KEY_LENGTH: Final = 128


class Verdict(Enum):
    """What a key says of its value."""

    KEEP = 0
    MASK = 1
    MASK_UNLESS_NUMBER = 2  # max_tokens: 512 is a count, tokens: ["…"] is not


class SecretKeys:
    """The built-in list, and what a user adds.

    Args:
        patterns: Extra patterns; see ``MappingOptions.redact``. Empty ones are ignored.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._patterns = tuple(pattern.strip().lower() for pattern in patterns if pattern.strip())
        self._verdicts: dict[str, Verdict] = {}

    def verdict(self, key: str) -> Verdict:
        """Whether the value under this key is masked. Takes time in proportion to the key's length."""
        known = self._verdicts.get(key)
        if known is not None:
            return known
        verdict = self._decide(key)
        if len(key) <= _CACHED_KEY_LENGTH:
            # Keys come from outside: what is remembered of them is bounded.
            if len(self._verdicts) >= _CACHED_KEYS:
                self._verdicts.clear()
            self._verdicts[key] = verdict
        return verdict

    def _decide(self, key: str) -> Verdict:
        words = [word.lower() for word in _WORD.findall(key)]
        if self._patterns:
            forms = (key.lower(), "_".join(words))
            if any(_matches(pattern, form) for pattern in self._patterns for form in forms):
                return Verdict.MASK
        compact = "".join(words)
        if compact in _HARMLESS:
            return Verdict.KEEP
        if _PARTS.search(compact) or compact in _WHOLE or not _WORDS.isdisjoint(words):
            return Verdict.MASK
        if words[-1:] == [_LAST_WORD]:
            return Verdict.MASK
        return _token_verdict(words, compact)


def _token_verdict(words: list[str], compact: str) -> Verdict:
    if not (compact.endswith(("token", "tokens")) or "token" in words or "tokens" in words):
        return Verdict.KEEP
    if not _LIFETIME.isdisjoint(words):
        return Verdict.KEEP
    if compact.endswith("tokens") or not _COUNTING.isdisjoint(words):
        return Verdict.MASK_UNLESS_NUMBER
    return Verdict.MASK


def _matches(pattern: str, text: str) -> bool:
    # Piece by piece from the left, so that no pattern takes more than a walk over the text for each piece.
    if "*" not in pattern:
        return pattern in text
    first, *middle, last = pattern.split("*")
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return False
    position, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True
