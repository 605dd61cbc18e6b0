"""Very many clouds in one process, each a Keystone that answers a login after a fixed delay, and no servers.

    python -m bench.keystones PORT DELAY-MS LIFE-SECONDS [PROJECT]

A cloud is a path: http://127.0.0.1:PORT/7/v3 is the Keystone of the seventh, /7/v2.1 its compute service, and
/v3 the clients' own Keystone, whose tokens are `project-3`. `GET /counted` gives the logins since the last
time and the most that there were at once. PROJECT is what every project is called by all clouds but the
clients' own.
"""

import asyncio
import json
import sys
import time
from typing import Any

import uvloop

VERSIONS = {"version": {"id": "v2.1", "status": "CURRENT", "version": "2.100", "min_version": "2.1"}}


def ident(kind: str, number: int, cloud: int = 0) -> str:
    """A project's or user's id at a cloud; the clients' own is cloud 0."""
    return f"{kind[0].encode().hex()}{cloud:015x}{number:015x}"


class Clouds:
    """What is answered, and what was counted."""

    def __init__(self, delay: float, life: float, project: str = "") -> None:
        self.delay, self.life, self.project = delay, life, project
        self.now = self.most = self.logins = 0

    async def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, Any], str]:
        """(status, content, token) of a request."""
        parts = path.partition("?")[0].strip("/").split("/")
        if parts == ["counted"]:
            said = {"logins": self.logins, "most": self.most}
            self.logins = self.most = 0
            return 200, said, ""
        if parts == ["v3", "auth", "tokens"]:
            return 200, self._token(0, int(headers["x-subject-token"].partition("-")[2] or 0), 86400.0), ""
        if parts[1:] == ["v3", "auth", "tokens"] and method == "POST":
            user = json.loads(body)["auth"]["identity"]["password"]["user"]
            self.now += 1
            self.logins += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(self.delay)
            self.now -= 1
            return (
                201,
                self._token(int(parts[0]), int(user["name"]), self.life),
                f"gAAAAA-{self.logins:0176d}",
            )
        if parts[-1] == "v2.1":
            return 200, VERSIONS, ""
        return 200, {parts[-1] if parts[-1] != "detail" else parts[-2]: []}, ""

    def _token(self, cloud: int, number: int, life: float) -> dict[str, Any]:
        now, domain = time.time(), {"id": "default", "name": "Default"}
        project = (self.project if cloud else "") or ident("project", number, cloud)
        issued, expires = (
            time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(one)) for one in (now, now + life)
        )
        return {
            "token": {
                "methods": ["password"],
                "user": {"domain": domain, "id": ident("user", number, cloud), "name": f"{number}"},
                "project": {"domain": domain, "id": project, "name": f"{number}"},
                "issued_at": issued, "expires_at": expires, "audit_ids": ["x"], "is_domain": False,
                "roles": [{"id": "1", "name": "member"}],
            }
        }  # fmt: skip

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer what comes on a connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, path, _ = head[0].split(" ")
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in head[1:])
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                status, content, token = await self.answer(method, path, headers, body)
                text = json.dumps(content).encode()
                given = f"X-Subject-Token: {token}\r\n" if token else ""
                writer.write(
                    f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\n{given}"
                    f"Content-Length: {len(text)}\r\n\r\n".encode()
                    + text
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def run(port: int, delay: float, life: float, project: str = "") -> None:
    """Serve until stopped."""
    clouds = Clouds(delay, life, project)
    server = await asyncio.start_server(clouds.serve, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(run(int(sys.argv[1]), float(sys.argv[2]) / 1000, float(sys.argv[3]), *sys.argv[4:]))
