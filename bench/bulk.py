"""A site whose image has no end and keeps nothing, and a load that moves bytes to and from it.

    python -m bench.bulk site PORT BYTES [has]      Keystone and Glance enough for a proxy to find the image
    python -m bench.bulk load PORT PATH up|down BYTES COUNT

Both are threads on blocking sockets: the cheapest there is in Python, since they share cores.
"""

import contextlib
import json
import socket
import sys
import threading
from typing import Any

from bench.backend import TOKEN, token_answer
from bench.things import IMAGE_ID, PROJECT_ID

PIECE = 1 << 20
FILE = f"/v2/images/{IMAGE_ID}/file"
WAIT_SECONDS = 120.0

Headers = dict[str, str]


class Site:
    """Answers what a gateway asks before it moves an image, then takes and gives bytes."""

    def __init__(self, size: int, *, has: bool) -> None:
        self._size = size
        self._piece = memoryview(bytes(PIECE))
        image: dict[str, Any] = {
            "id": IMAGE_ID, "name": "bulk", "status": "active", "visibility": "private", "owner": PROJECT_ID,
        }  # fmt: skip
        self._answers: dict[str, Any] = {"/v3/auth/tokens": token_answer(), "/v2/images": {"images": []}}
        if has:
            self._answers[f"/v2/images/{IMAGE_ID}"] = image

    def serve(self, port: int) -> None:
        """Listen for ever."""
        with socket.create_server(("127.0.0.1", port), backlog=256) as listener:
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._connection, args=(connection,), daemon=True).start()

    def _connection(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (head := read_head(connection)) is not None:
                line, headers, body = head
                method, target, _ = line.split(" ")
                if "100-continue" in headers.get("expect", ""):
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                drain(connection, int(headers.get("content-length", 0)) - len(body))
                self._answer(connection, method, target.partition("?")[0])

    def _answer(self, connection: socket.socket, method: str, path: str) -> None:
        if path == FILE and method == "PUT":
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        elif path == FILE:
            kind = b"Content-Type: application/octet-stream\r\n"
            connection.sendall(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n" % (kind, self._size))
            for at in range(0, self._size, PIECE):
                connection.sendall(self._piece[: self._size - at])
        else:
            text = json.dumps(self._answers.get(path, {})).encode()
            status = b"200 OK" if path in self._answers else b"404 Not Found"
            head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            connection.sendall(head % (status, len(text)) + text)


def read_head(connection: socket.socket) -> tuple[str, Headers, bytes] | None:
    """(first line, headers, what of the body came along) of a message; None at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    line, *rest = head.decode().split("\r\n")
    pairs = (one.partition(":") for one in rest)
    return line, {name.strip().lower(): value.strip() for name, _, value in pairs}, body


def drain(connection: socket.socket, left: int) -> None:
    """Read and forget. Raises ConnectionError when it ends early."""
    room = memoryview(bytearray(PIECE))
    while left > 0:
        got = connection.recv_into(room[:left])
        if not got:
            raise ConnectionError("cut")
        left -= got


def move(port: int, path: str, way: str, size: int) -> None:
    """Upload or download once. Raises ConnectionError unless every byte came through."""
    piece = memoryview(bytes(PIECE))
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS) as connection:
        method, length = ("PUT", f"Content-Length: {size}\r\n") if way == "up" else ("GET", "")
        kind = "Content-Type: application/octet-stream\r\n"
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {TOKEN}\r\n{kind}{length}\r\n"
        connection.sendall(head.encode())
        if way == "up":
            for at in range(0, size, PIECE):
                connection.sendall(piece[: size - at])
        answer = read_head(connection)
        if answer is None or answer[0].split(" ")[1] != ("204" if way == "up" else "200"):
            raise ConnectionError(f"answered {answer and answer[0]}")
        if way == "down":
            drain(connection, size - len(answer[2]))


def moved(port: int, path: str, way: str, size: int, count: int) -> int:
    """Several at once; how many went wrong."""
    wrong: list[str] = []

    def one() -> None:
        try:
            move(port, path, way, size)
        except OSError as error:
            wrong.append(str(error))

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        print("; ".join(wrong), file=sys.stderr)
    return len(wrong)


if __name__ == "__main__":
    what, port, *words = sys.argv[1:]
    if what == "site":
        Site(int(words[0]), has="has" in words).serve(int(port))
    path, way, size, count = words
    sys.exit(moved(int(port), path, way, int(size), int(count)))
