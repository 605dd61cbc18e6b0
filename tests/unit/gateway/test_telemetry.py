"""The access log: the same lines by either way, and a new file when the old one was renamed."""

import asyncio
import json
import time

import pytest

from atoll.core.rewrite import Links
from atoll.gateway.call import Call, Caller
from atoll.gateway.telemetry import Sent, Telemetry, Way
from atoll.services.catalog import SERVICES
from atoll.sites.pool import Origin, Watch
from atoll.sites.site import Endpoint, Learnt
from atoll.wire.message import Request, Response
from atoll.wire.server import Reply, ServerConnection, ServerSettings

COMPUTE = SERVICES["compute"]
# A site's id of a request -> as it is logged: it cannot end the text it stands in.
PLAINLY = {b"req-7c1d": "req-7c1d", b'req-"},\\\xff': "req-_____", b"x" * 100: "x" * 64, b"": ""}


def an_endpoint(watch: Watch) -> Endpoint:
    return Endpoint(
        site='par"is',
        service_type="compute",
        origin=Origin("http://127.0.0.1:1", site="paris", watch=watch),
        root=b"",
        url="http://127.0.0.1:1",
        learnt=Learnt(links=Links(())),
    )


async def nothing(request: Request, reply: Reply) -> None:
    del request, reply


async def test_a_renamed_access_log_is_opened_anew(tmp_path):
    path = tmp_path / "access.log"
    telemetry = Telemetry(str(path))
    telemetry.now = time.monotonic
    watch = Watch()
    endpoint = an_endpoint(watch)
    request = Request(b"GET", b"/compute/v2.1/servers", {}, [])
    call = Call(request, Reply(ServerConnection(ServerSettings(nothing)), request), "req-1", 1.0)
    try:
        for name in ("one", "two"):
            call.id = name
            telemetry.site_answered(call, endpoint, Sent(b"GET", b"/v2.1/servers", telemetry.now()))
            telemetry.flush()
            if name == "one":
                await asyncio.to_thread(path.rename, tmp_path / "access.log.1")
    finally:
        watch.close()
        telemetry.close()
    assert '"request_id":"one"' in (tmp_path / "access.log.1").read_text()
    assert '"request_id":"two"' in path.read_text()
    assert "one" not in path.read_text()


TARGET, BELOW = b"/compute/v2.1/servers/8f2a", b"/v2.1/servers/8f2a"
CALLER = Caller(token=b"t", user_id="u", project_id='p"q', roles=frozenset(), is_admin=False, until=0.0)


def a_call(caller: Caller) -> Call:
    """A GET by id that began at 5.0 and has been answered."""
    request = Request(b"GET", TARGET, {}, [])
    request.peer = "127.0.0.1:4711"
    request.started = 5.0
    call = Call(request, Reply(ServerConnection(ServerSettings(nothing)), request), "req-1", 1.0)
    call.service, call.caller, call.path = COMPUTE, caller, BELOW
    call.match = COMPUTE.match(b"GET", [b"servers", b"8f2a"])
    call.reply.status, call.reply.sent = 200, 17
    call.sites.append('par"is')
    return call


@pytest.mark.parametrize("site_request_id", [b"req-7c1d", b'req-"},\\\xff', b"x" * 100, b""])
async def test_the_lane_writes_the_lines_that_the_ordinary_way_writes(tmp_path, site_request_id):
    call = a_call(CALLER)
    watch = Watch()
    endpoint = an_endpoint(watch)
    response = Response(200, {b"x-openstack-request-id": site_request_id} if site_request_id else {}, [])
    written, counted = [], []
    for lane in (False, True):
        telemetry = Telemetry(str(tmp_path / f"{lane}.log"))
        telemetry.now = lambda: 5.25
        if lane:
            assert call.match.route is not None
            way = Way("compute", call.match.route.template, TARGET, BELOW)
            telemetry.lane_answered(way, b"req-1", endpoint, CALLER, b"127.0.0.1:4711", response, 5.0, 17)
        else:
            telemetry.site_answered(call, endpoint, Sent(b"GET", BELOW, 5.0, response=response))
            telemetry.answered(call)
        telemetry.close()
        lines = await asyncio.to_thread((tmp_path / f"{lane}.log").read_text)
        written.append([json.loads(line) | {"time": 0} for line in lines.splitlines()])
        counted.append(telemetry.metrics())
    watch.close()
    assert len(written[0]) == 2
    assert written[0] == written[1]
    assert written[0][0]["site_request_id"] == PLAINLY[site_request_id]
    assert [line for line in counted[0].splitlines() if b"memory" not in line] == [
        line for line in counted[1].splitlines() if b"memory" not in line
    ]
