"""Answers requests from a capture or a scenario, by elapsed time: a pure core with a thin server around it."""
