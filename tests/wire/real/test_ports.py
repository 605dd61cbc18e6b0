"""Ports of the loopback that are free, taken, or answering."""

import http.server
import socket
import threading

import pytest

from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.ports import answers, require_free


def test_a_taken_port_is_refused_with_its_owner():
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        owner.listen()
        port = owner.getsockname()[1]
        with pytest.raises(SandboxError, match=rf"port {port} .*keystone.* process \d+ .*port-base"):
            require_free(port, "keystone")
    require_free(port, "keystone")


@pytest.mark.parametrize(("status", "expected"), [(200, True), (300, True), (401, True), (503, False)])
def test_an_api_answers_unless_it_gives_a_5xx(status, expected):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert answers(server.server_port) is expected
        thread.join()


def test_where_nothing_listens_there_is_no_answer():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(OSError, match="refused"):
        answers(port)
