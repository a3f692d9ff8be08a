"""Results of a test as tables, pictures, plots, documents and an HTML report."""
