"""One run: extract → validate → load → publish → result."""
