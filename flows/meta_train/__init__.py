"""Meta-training: many product lines in, a meta-model out."""
