"""The command line. Thin: everything it does is done elsewhere."""
