"""What a SIP trunk is and what follows from it: pure functions that touch nothing outside memory.

`schema` declares, `parse` turns a response into tables, `enrich` derives columns, `history` reads versions, `audit`
finds misconfigurations, `reports` counts. docs/library.md shows how to call them. Their public functions raise
ValueError if a frame lacks a column or a moment has no time zone.
"""
