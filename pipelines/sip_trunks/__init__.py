"""I/O around the transforms: the API on one side, the warehouse and its readers on the other."""

__version__ = "0.1.0"
