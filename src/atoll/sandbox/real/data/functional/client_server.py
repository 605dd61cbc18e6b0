"""Serve the `openstack` command from one process that has it loaded: functional tests start it thousands of times.

    python client_server.py SOCKET

Each connection brings a command's words, environment, directory and its three standard streams; a fork of
this process runs the client's own `main` with them, unchanged, and gives back its exit status. Loading the
client costs more than a second, a fork a hundredth.
"""

import contextlib
import json
import logging
import os
import signal
import socket
import sys
import traceback
from pathlib import Path

from openstackclient import shell

STREAMS = 3
LIMIT = 1 << 20  # bytes of words and environment


def main() -> None:
    """Answer until killed."""
    address = sys.argv[1]
    _load()
    Path(address).unlink(missing_ok=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _serve(connection)
        connection.close()


def _load() -> None:
    """Import every command: `complete` names them all, and asks no cloud."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        shell.main(["complete"])
    logging.getLogger().handlers.clear()  # each command sets up its own


def _serve(connection: socket.socket) -> None:
    """Run one command in this process, and end it."""
    status = 1
    try:
        text, streams, _, _ = socket.recv_fds(connection, LIMIT, STREAMS)
        while not text.endswith(b"\n"):
            text += connection.recv(LIMIT)
        asked = json.loads(text)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.chdir(asked["directory"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        sys.argv = ["openstack", *asked["words"]]
        status = shell.main(asked["words"])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter would at the end of a program
        traceback.print_exc()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    connection.sendall(b"%d\n" % (status or 0))
    os._exit(0)


if __name__ == "__main__":
    main()
