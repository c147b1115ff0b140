"""linewatch: real-time surface inspection of steel strip."""

__version__ = "0.1.0"
