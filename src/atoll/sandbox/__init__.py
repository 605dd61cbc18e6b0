"""Throw-away clouds to try Atoll with and to test it against: simulated ones, and real OpenStack."""
