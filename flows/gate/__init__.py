"""The gate: a new version of a line beside the live one, on images that neither has learned."""
