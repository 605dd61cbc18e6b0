"""The clouds behind the proxies: nginx with static answers in the form of Keystone and Nova."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.processes import Process, get, running, wait_for

SERVER_ID = "8f2a1c9e-5b7d-4e63-9a41-d07c3be852f6"
PROJECT_ID = "0ec3fefb53714f79949e4bf3a7c26720"
USER_ID = "c4b6a6f6f48d47cc9713aec491245ec7"
FLAVOR_ID = "42"
IMAGE_ID = "70a599e0-31e7-49b7-b260-868f441e862b"
SERVER_PATH = f"/v2.1/servers/{SERVER_ID}"
# Servers asked for by turns, so that no proxy answers the same request twice in a row.
SERVERS = 200
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


def server_paths(first: str) -> list[str]:
    """The paths of all servers, from that of the first one."""
    return [f"{first[:-4]}{(int(first[-4:], 16) + number) % 65536:04x}" for number in range(SERVERS)]


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


def server_answer(base: str) -> dict[str, Any]:
    """What Nova 2.1 says of a server to its owner; `base` begins its links. About 1.5 KB."""
    return {
        "server": {
            "id": SERVER_ID,
            "name": "web-03.production",
            "status": "ACTIVE",
            "tenant_id": PROJECT_ID,
            "user_id": USER_ID,
            "metadata": {"role": "web", "owner": "team-storefront"},
            "hostId": "a9c4c3b5d38a2f1f4ce4a3a3a0ed1bbd5fdfe0dd66cb5ed24d5f3a8e",
            "image": {
                "id": IMAGE_ID,
                "links": [{"rel": "bookmark", "href": f"{base}/images/{IMAGE_ID}"}],
            },
            "flavor": {
                "id": FLAVOR_ID,
                "links": [{"rel": "bookmark", "href": f"{base}/flavors/{FLAVOR_ID}"}],
            },
            "created": "2026-11-20T10:31:04Z",
            "updated": "2026-11-20T10:31:19Z",
            "addresses": {
                "private": [
                    {
                        "version": 4,
                        "addr": "10.1.3.27",
                        "OS-EXT-IPS:type": "fixed",
                        "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:5c:0b:9d",
                    }
                ]
            },
            "accessIPv4": "",
            "accessIPv6": "",
            "links": [
                {"rel": "self", "href": f"{base}{SERVER_PATH}"},
                {"rel": "bookmark", "href": f"{base}/servers/{SERVER_ID}"},
            ],
            "OS-DCF:diskConfig": "MANUAL",
            "progress": 0,
            "OS-EXT-AZ:availability_zone": "nova",
            "config_drive": "",
            "key_name": "deploy",
            "OS-SRV-USG:launched_at": "2026-11-20T10:31:19.000000",
            "OS-SRV-USG:terminated_at": None,
            "security_groups": [{"name": "default"}],
            "OS-EXT-STS:task_state": None,
            "OS-EXT-STS:vm_state": "active",
            "OS-EXT-STS:power_state": 1,
            "os-extended-volumes:volumes_attached": [],
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


_NOT_FOUND = {"itemNotFound": {"code": 404, "message": f"Instance {SERVER_ID} could not be found."}}


def _site(port: int, *, has_server: bool) -> str:
    base = f"http://127.0.0.1:{port}"
    nova = "add_header OpenStack-API-Version 'compute 2.1'; add_header X-OpenStack-Nova-API-Version 2.1;"
    vary = "add_header Vary OpenStack-API-Version; add_header Vary X-OpenStack-Nova-API-Version;"
    request_id = "req-d00eba8f-8f83-4fb2-9baa-b8b8053959f6"
    ids = f"add_header x-openstack-request-id {request_id}; add_header x-compute-request-id {request_id};"
    status, answer = (200, server_answer(base)) if has_server else (404, _NOT_FOUND)
    answers = "".join(
        f"""
        location = {path} {{
            {nova} {vary} {ids}
            return {status} '{json.dumps(answer).replace(SERVER_ID, path.rpartition("/")[2])}';
        }}"""
        for path in server_paths(SERVER_PATH)
    )
    return f"""
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location = /v3/auth/tokens {{ return 200 '{json.dumps(token_answer())}'; }}
        location = /v2.1/ {{ return 200 '{json.dumps(_versions(base))}'; }}
        {answers}
    }}"""


def configuration(ports: list[int]) -> str:
    """The configuration of nginx: a site at each port, the first of which has the server."""
    sites = "".join(_site(port, has_server=not index) for index, port in enumerate(ports))
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
    (folder / "nginx.conf").write_text(configuration(ports))
    command = ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
    with running(command, cores=cores, log=folder / "nginx.log") as process:
        wait_for(process, lambda: get(ports[0], SERVER_PATH, HEADERS))
        yield process
