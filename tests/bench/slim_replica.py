"""A replica that does four projects at once in place of sixteen: several of them fit on a small machine.

What is measured with it is how work is shared, before the machine's cores end.
"""

from __future__ import annotations

from otel_bridge.cli import main
from otel_bridge.service.replicas import parts

parts.WORKERS.update(head=4, rest=2)

if __name__ == "__main__":
    main()
