"""Heads and what they are made of: memory banks, product-invariant inputs, a small learned head."""
