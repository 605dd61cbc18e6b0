"""The pure part: no I/O, no await. Everything here can be tested with values alone."""
