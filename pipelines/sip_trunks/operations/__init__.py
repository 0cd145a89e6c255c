"""Keeping it running: retention, transfer, status, preflight, scheduling, monitoring."""
