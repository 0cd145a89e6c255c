"""Bytes of a response → typed columns, versions and drift."""
