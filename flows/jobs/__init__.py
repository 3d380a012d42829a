"""The work itself, as plain functions: the command and the Prefect flows call the same ones. No Prefect in here."""
