"""A peer: a proxy as one writes it with Flask and requests, run by gunicorn.

It does the same job naively: tokens in a dict, links by replacing the prefix of the site's URLs. `BENCH_PORT`
and `BENCH_SITE` in the environment are the ports of the proxy and of the site.
"""

import os

import requests
from flask import Flask, Response, abort, request

DROP = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding"}
OURS = f"http://127.0.0.1:{os.environ.get('BENCH_PORT', '0')}/compute"
SITE = f"http://127.0.0.1:{os.environ.get('BENCH_SITE', '0')}"
TIMEOUT = 30

app = Flask(__name__)
session = requests.Session()
session.mount("http://", requests.adapters.HTTPAdapter(pool_connections=1, pool_maxsize=100))
known: dict[str, bool] = {}


def check(token: str) -> None:
    """Ask Keystone about a token."""
    headers = {"X-Auth-Token": token, "X-Subject-Token": token}
    if session.get(f"{SITE}/v3/auth/tokens", headers=headers, timeout=TIMEOUT).status_code != 200:
        abort(401)
    known[token] = True


@app.route("/compute/<path:path>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
def handle(path: str) -> Response:
    """Pass one request on."""
    token = request.headers.get("X-Auth-Token", "")
    if token not in known:
        check(token)
    headers = {name: value for name, value in request.headers.items() if name.lower() not in DROP}
    answer = session.request(
        request.method,
        f"{SITE}/{path}",
        params=request.args,
        headers=headers,
        data=request.get_data(),
        timeout=TIMEOUT,
    )
    text = answer.content.replace(SITE.encode(), OURS.encode())
    passed = {name: value for name, value in answer.headers.items() if name.lower() not in DROP}
    return Response(text, answer.status_code, passed)
