"""The version, in one place: packaging, the scope of every span and the user agent read it here."""

__version__ = "0.1.0"
