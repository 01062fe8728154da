"""An application that knows nothing of OpenTelemetry. Prints the log id of its one call."""

import sys

from composio import Composio  # type: ignore[import-not-found] # it has an environment of its own

session = Composio().create(user_id="user_ada")
sys.stdout.write(f"{session.execute('SLACK_SEND_MESSAGE', arguments={'channel': '#a'}).log_id}\n")
