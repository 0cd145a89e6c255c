"""Parse the bytes of a response into typed columns, versions and drift."""
