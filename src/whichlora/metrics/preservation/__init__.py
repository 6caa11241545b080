"""Did what must stay stay? Measured after alignment, outside the edited region."""
