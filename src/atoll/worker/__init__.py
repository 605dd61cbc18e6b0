"""Runs what was accepted: takes runs up, does their steps at the sites, and writes down how they go.

Any number of workers share a store, each within a lease in the database's time. `actions` are what steps do,
`execution` is one run, `worker` all that one process has.
"""
