"""Values that nobody changes, at the price of those that anybody could."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass as value
else:

    def value(*, frozen: bool, slots: bool) -> Callable[[type[Any]], type[Any]]:
        """``dataclass(frozen=True, slots=True)`` for what is made many times for every record.

        The type checker sees exactly that, and refuses whoever would change one. At run time the guard is
        left out: with it each field is set by a call, 0.2 µs each, which was a tenth of what a record takes
        from its detail to its bytes. Equality and hash are those of a frozen dataclass.
        """
        return dataclasses.dataclass(slots=slots, unsafe_hash=frozen)


__all__ = ["value"]
