"""Labels that people drew with a tool of theirs, as a product line: a reader for each tool, and shapes to masks."""
