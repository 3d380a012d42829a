"""An evaluation for people and for programs: summary, tables, plots, pages."""
