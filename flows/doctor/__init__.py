"""Whether Linewise works on this machine, on which device, and how fast."""
