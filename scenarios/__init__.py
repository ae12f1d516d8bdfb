"""The drivers: what is done to the API under test, one module per story."""
