"""What is stored, as SQL: catalog, views, report tables, frames, dictionary."""
