"""The paper's numbers, results, tables and figures of the book."""
