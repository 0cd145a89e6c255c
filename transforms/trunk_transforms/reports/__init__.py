"""Reports: stored frames → result frames."""
