"""A folder of images in, decisions out."""
