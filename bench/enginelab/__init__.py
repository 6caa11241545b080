"""Phases of `bench/engine.py`: each measures one part in a process of its own and returns plain figures."""
