"""What people see: the report, its gallery, heat maps."""
