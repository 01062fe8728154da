"""Import a package without a part that takes memory for as long as the process runs, and is not needed."""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def left_out(*names: str) -> Iterator[None]:
    """While it lasts these modules can't be imported, unless they are already; remarks on that are not said.

    The package must be prepared for their absence, as for a dependency that is not installed.

    Args:
        names: Modules by their full names.
    """
    modules = cast("dict[str, Any]", sys.modules)
    hidden = [name for name in names if name not in modules]
    # Python refuses to import what is None here.
    modules.update(dict.fromkeys(hidden))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name in hidden:
            del modules[name]
