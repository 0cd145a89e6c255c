"""Where snapshots are stored: a DuckDB file, a Parquet lake, Delta tables, a database server."""
