"""Losses, students and training (paper, section 4)."""
