"""Report frames → output: page, charts, workbook, terminal, notebook. Dask derives frames of large lakes."""
