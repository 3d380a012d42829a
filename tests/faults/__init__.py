"""Faults of machines, disks, clocks, cameras and databases, and what Linewise makes of them; see __main__."""
