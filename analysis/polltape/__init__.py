"""polltape: records, measures and replays the traffic of APIs that answer "not yet"."""
