"""Results of a test as tables, plots, sheets, and an HTML report."""
