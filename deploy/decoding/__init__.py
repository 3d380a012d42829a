"""What decodes the JPEGs that are scored: libjpeg, or nvJPEG where a machine's settings ask for it."""
