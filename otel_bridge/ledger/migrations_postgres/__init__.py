"""The PostgreSQL ledger's schema, step by step."""
