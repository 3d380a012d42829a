"""What meta-training is made of: source lines, the outer loop of one process, several processes, devices."""
