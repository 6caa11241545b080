"""From a suite and a project folder to a resolved, priced matrix. Nothing is generated here."""
