"""The result store: schema, migrations, queries, exports."""
