"""Work that touches several sites: plans, how a run of one goes on, and what it locks.

Pure: no I/O, no clock, no await. What happens is told to a `Machine`, which says what is to be done next and
what is to be written down before. `worker` does it, `store.runs` writes it down.
"""
