"""Which sites and zones there are: what the configuration declares and what was set up later, as one."""
