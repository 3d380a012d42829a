"""Housekeeping: what is old of rows, pictures, bundles, reports, logs and flow runs goes."""
