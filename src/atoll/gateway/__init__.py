"""The OpenStack-facing side: what happens to a request between a client and the sites."""
