"""From a plan to pictures in the store: gate, schedule, encode once, generate, resume."""
