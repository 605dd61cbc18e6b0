"""The clouds behind the proxies: nginx with static answers in the form of Keystone and the services."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.processes import Process, get, running, wait_for
from bench.things import (
    PROJECT_ID,
    SERVER,
    THINGS,
    USER_ID,
    Thing,
    paths,
)

SERVER_PATH = SERVER.at_site
# A Fernet token of a project-scoped user is this long; the value is opaque to everybody but Keystone.
TOKEN = "gAAAAABn" + "Zk3yT9_q" * 21 + "w7RbHcE-"
# The headers that openstacksdk (requests) sends with a GET.
HEADERS = {
    "User-Agent": "openstacksdk/4.22.0 keystoneauth1/5.18.1 python-requests/2.34.2 CPython/3.11.7",
    "Accept-Encoding": "gzip, deflate",
    "Accept": "application/json",
    "Connection": "keep-alive",
    "X-Auth-Token": TOKEN,
}
REQUEST_ID = "req-d00eba8f-8f83-4fb2-9baa-b8b8053959f6"
BESIDE = {path: answer for thing in THINGS for path, answer in thing.beside.items()}
NOT_FOUND = {"itemNotFound": {"code": 404, "message": "It could not be found."}}


def token_answer() -> dict[str, Any]:
    """What `GET /v3/auth/tokens?nocatalog` says."""
    now = datetime.now(UTC)
    domain = {"id": "default", "name": "Default"}
    return {
        "token": {
            "methods": ["password"],
            "user": {"domain": domain, "id": USER_ID, "name": "demo", "password_expires_at": None},
            "audit_ids": ["mlTPctdDSF6uyqy0rk5wMg"],
            "expires_at": f"{now + timedelta(days=1):%Y-%m-%dT%H:%M:%S.000000Z}",
            "issued_at": f"{now:%Y-%m-%dT%H:%M:%S.000000Z}",
            "project": {"domain": domain, "id": PROJECT_ID, "name": "demo"},
            "is_domain": False,
            "roles": [
                {"id": "8543040453a04ed4bae9ec91469cd492", "name": "member"},
                {"id": "3aab118ed5234b65ace4e7ef95f7b54e", "name": "reader"},
            ],
        }
    }


def _versions(base: str) -> dict[str, Any]:
    return {
        "version": {
            "id": "v2.1",
            "status": "CURRENT",
            "version": "2.96",
            "min_version": "2.1",
            "updated": "2013-07-23T11:33:21Z",
            "links": [{"rel": "self", "href": f"{base}/v2.1/"}],
        }
    }


def _site(port: int, *, first: bool) -> str:
    base = f"http://127.0.0.1:{port}"
    answers = "".join(_answers(thing, base, there=first or thing.everywhere) for thing in THINGS)
    beside = "".join(f"\n        location = {path} {{ alias {_file(path)}; }}" for path in BESIDE)
    return f"""
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location = /v3/auth/tokens {{ return 200 '{json.dumps(token_answer())}'; }}
        location = /v2.1/ {{ return 200 '{json.dumps(_versions(base))}'; }}
        {beside}
        {answers}
    }}"""


def _file(path: str) -> str:
    return f"{path.strip('/').replace('/', '-')}.json"


def _answers(thing: Thing, base: str, *, there: bool) -> str:
    """What a site says of each thing of a kind."""
    ids = f"x-openstack-request-id {REQUEST_ID}"
    headers = "".join(f"add_header {one}; " for one in (ids, *thing.headers))
    status, answer = (200, thing.answer(base)) if there else (404, NOT_FOUND)
    text = json.dumps(answer)
    return "".join(
        f"""
        location = {path} {{
            {headers}
            return {status} '{text.replace(thing.id, path.rpartition("/")[2])}';
        }}"""
        for path in paths(thing.at_site)
    )


def configuration(ports: list[int]) -> str:
    """The configuration of nginx: a site at each port, the first of which has the things."""
    sites = "".join(_site(port, first=not index) for index, port in enumerate(ports))
    return f"""
daemon off;
master_process off;
pid nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    default_type application/json;
    keepalive_requests 100000000;
    keepalive_timeout 300s;
    tcp_nodelay on;
    {sites}
}}
"""


@contextmanager
def sites(ports: list[int], folder: Path, *, cores: Sequence[int]) -> Iterator[Process]:
    """The sites, running. Raises NotStarted."""
    for path, answer in BESIDE.items():
        (folder / _file(path)).write_text(json.dumps(answer))
    (folder / "nginx.conf").write_text(configuration(ports))
    command = ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
    with running(command, cores=cores, log=folder / "nginx.log") as process:
        wait_for(process, lambda: get(ports[0], SERVER_PATH, HEADERS))
        yield process
