"""A peer: a proxy as one writes it with aiohttp on both sides. `python -m bench.proxy_aiohttp PORT SITE`.

It does the same job naively: tokens in a dict, links by replacing the prefix of the site's URLs.
"""

import sys
from collections.abc import AsyncIterator

from aiohttp import ClientSession, TCPConnector, web

DROP = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding"}


class Proxy:
    """Forwards to one site."""

    def __init__(self, port: int, site: int) -> None:
        self._ours = f"http://127.0.0.1:{port}/compute"
        self._site = f"http://127.0.0.1:{site}"
        self._known: dict[str, bool] = {}
        self._session: ClientSession

    async def session(self, _: web.Application) -> AsyncIterator[None]:
        """Keep one session for as long as the proxy runs."""
        async with ClientSession(connector=TCPConnector(limit=100)) as self._session:
            yield

    async def _check(self, token: str) -> None:
        headers = {"X-Auth-Token": token, "X-Subject-Token": token}
        async with self._session.get(f"{self._site}/v3/auth/tokens", headers=headers) as answer:
            if answer.status != 200:
                raise web.HTTPUnauthorized
            self._known[token] = True

    async def handle(self, request: web.Request) -> web.Response:
        """Pass one request on."""
        token = request.headers.get("X-Auth-Token", "")
        if token not in self._known:
            await self._check(token)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in DROP}
        url = self._site + request.path_qs.removeprefix("/compute")
        async with self._session.request(
            request.method, url, headers=headers, data=await request.read()
        ) as answer:
            text = (await answer.read()).replace(self._site.encode(), self._ours.encode())
            passed = {name: value for name, value in answer.headers.items() if name.lower() not in DROP}
            return web.Response(status=answer.status, headers=passed, body=text)


def main() -> None:
    """Serve until stopped."""
    port, site = int(sys.argv[1]), int(sys.argv[2])
    proxy = Proxy(port, site)
    app = web.Application()
    app.cleanup_ctx.append(proxy.session)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    main()
