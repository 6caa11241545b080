"""The command line: one file a verb, all of them light until they run."""
