"""What the bridge tells of itself: metrics, traces and log records, apart from the tool calls it exports."""
