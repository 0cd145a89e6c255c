"""The reports: frames → frames."""
