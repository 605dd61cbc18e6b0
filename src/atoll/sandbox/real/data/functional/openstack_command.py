"""The `openstack` command as the functional tests find it: hands its words to `client_server.py`, and waits."""

import json
import os
import socket
import sys

with socket.socket(socket.AF_UNIX) as server:
    server.connect(os.environ["ATOLL_CLIENT_SERVER"])
    asked = {"words": sys.argv[1:], "environment": dict(os.environ), "directory": os.getcwd()}  # noqa: PTH109
    text = json.dumps(asked).encode() + b"\n"
    sent = socket.send_fds(server, [text], [0, 1, 2])
    server.sendall(text[sent:])
    sys.exit(int(server.recv(16) or 1))
