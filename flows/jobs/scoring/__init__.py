"""What both scoring jobs are made of: the images they take, what they write and draw. Torch-free."""
