"""A package, so that a benchmark of the same name is never taken for it."""
