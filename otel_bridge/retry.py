"""When to try again: one decision object, used by the receiver and the exporters alike.

One owner of retries: no HTTP library below retries by itself, so that the request budget sees every request.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential waits with full jitter on their upper half.

    Args:
        first_s: The first wait, in seconds.
        factor: What each further wait is multiplied by.
        most_s: The longest wait, in seconds.
        attempts: How many tries in all, the first included; None for no limit.
    """

    first_s: float = 0.5
    factor: float = 2.0
    most_s: float = 30.0
    attempts: int | None = 5
    rng: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    def wait_s(self, failures: int, asked_s: float | None = None) -> float | None:
        """Decide after a failure.

        Args:
            failures: How many tries have failed so far, this one included (1 or more).
            asked_s: The wait that the other side asked for (Retry-After), which is obeyed as a minimum.

        Returns:
            Seconds to wait before the next try, or None to give up.
        """
        if self.attempts is not None and failures >= self.attempts:
            return None
        exponent = min(failures - 1, 63)
        ceiling = min(self.most_s, self.first_s * self.factor**exponent)
        jittered = ceiling * (0.5 + self.rng.random() / 2)
        return jittered if asked_s is None else max(asked_s, jittered)
