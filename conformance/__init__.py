"""The checks: what conforming means, one module per convention."""
