"""From a file to the pixels that a backbone takes: one torch-free path for support, training and scoring."""
