"""The command's parts, one module per group of subcommands. Torch and Prefect are imported inside the functions."""
