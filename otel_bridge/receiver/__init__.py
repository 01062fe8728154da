"""What the source says: the client of Composio's Logs API, its wire models and the request budget."""
