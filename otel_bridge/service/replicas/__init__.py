"""Several processes share the work of many projects: a queue in PostgreSQL hands it out, leases guard it."""
