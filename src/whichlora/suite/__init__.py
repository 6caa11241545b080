"""The suite: what is asked of every candidate, on which photographs. YAML in, checked settings out."""
