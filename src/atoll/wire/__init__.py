"""HTTP/1.1 on both sides of the gateway: strict messages, streaming bodies, connections.

Nothing here knows OpenStack; what is dropped or refused beyond HTTP itself is handed in.
"""
