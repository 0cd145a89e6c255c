"""Versions, changes, growth and freshness over time."""
