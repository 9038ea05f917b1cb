"""Synonyms, antonyms and morphological negation (paper, section 3.2)."""
