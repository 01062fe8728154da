"""The ledger's schema: one SQL file a version, ``0001_what.sql`` first; a released file never changes."""
