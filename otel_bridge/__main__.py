"""``python -m otel_bridge`` does the same as ``otel-bridge``."""

from otel_bridge.cli import main

if __name__ == "__main__":
    main()
