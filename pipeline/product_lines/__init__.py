"""Product lines on disk: layouts, importers, and a check that says what is wrong."""
