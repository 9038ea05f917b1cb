"""Benchmarks, text measures and significance (paper, section 5)."""
