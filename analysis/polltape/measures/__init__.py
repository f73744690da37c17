"""What a capture says: one file a measure, all from the tables of operations and waits."""
