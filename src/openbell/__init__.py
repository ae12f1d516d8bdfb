"""openbell drives a financial API, records what happened, and judges the record against documented conventions."""

__version__ = "0.1.0"
