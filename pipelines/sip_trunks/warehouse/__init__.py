"""SQL on stored data: tables, views, report tables, frames, dictionary."""
