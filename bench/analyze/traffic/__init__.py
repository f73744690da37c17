"""Captures of any size with the truth about them: generated from a seed, checked against an analysis."""
