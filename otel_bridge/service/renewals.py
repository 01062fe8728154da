"""Tells in the log of settings' files that are read again while the process runs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from otel_bridge.service.logs import event

if TYPE_CHECKING:
    from otel_bridge.settings import Settings


def tell_renewals(settings: Settings) -> None:
    """Write an event when a file has changed, and when one can't be used as it is now."""
    settings.on_files(
        lambda: event(logging.INFO, "files_renewed", "a file of the settings has changed and is in use now"),
        lambda line: event(
            logging.WARNING,
            "file_unusable",
            f"{line}; what was read before stays in use, and the file is tried again",
        ),
    )
