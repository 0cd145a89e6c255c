"""Versions, growth and freshness over time."""
