"""Report frames → people: page, charts, workbook, terminal, formats, Dask."""
