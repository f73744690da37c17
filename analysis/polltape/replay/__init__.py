"""Sends a session again, watches what comes back, compares it with the recording and gives the verdict."""
