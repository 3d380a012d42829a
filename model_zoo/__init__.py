"""What can be swapped: backbones, memory banks, heads and learners."""
