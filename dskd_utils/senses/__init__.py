"""Token senses, word senses and the sense dictionary (paper, sections 3.1 and 3.3)."""
