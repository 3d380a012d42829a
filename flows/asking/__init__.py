"""What all requests share: their base, their fields, the names to choose from."""
