"""From observations to operations and waits: what each exchange was part of."""
