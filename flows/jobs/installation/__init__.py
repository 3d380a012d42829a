"""What `linewise doctor` looks at besides devices. Torch-free but for the specimen."""
