"""The only package that talks to clouds: connections, health, discovery, tokens."""
