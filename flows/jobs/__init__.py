"""The work itself, as plain functions: the command and the Prefect flows call the same ones. No Prefect in here.

A module a job, which reads from top to bottom, beside what several of them share; what one kind of job alone is made of
has a room: `training`, `scoring`, `scenarios` (of an evaluation), `installation` (what `linewise doctor` looks at).
"""
