"""Foundations of all other packages: settings, errors, logs, the run lock, files, HTTP."""
