"""The service: what collects and delivers, and the commands' work."""
