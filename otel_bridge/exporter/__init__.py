"""OTLP, from values to acknowledged bytes: encoding, batching, the HTTP and gRPC senders, the terminal.

Knows `otel_bridge.signals` only: nothing here has heard of Composio.
"""
