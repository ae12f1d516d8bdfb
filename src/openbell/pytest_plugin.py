"""The door from pytest: no hooks yet."""
