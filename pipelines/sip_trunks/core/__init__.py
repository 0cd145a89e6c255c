"""What everything rests on: settings, errors, logs, the lock, files, HTTP."""
