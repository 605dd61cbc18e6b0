"""The access log goes on in a new file when the old one was renamed."""

import asyncio
import time

from atoll.core.rewrite import Links
from atoll.gateway.call import Call
from atoll.gateway.telemetry import Telemetry
from atoll.sites.pool import Origin, Watch
from atoll.sites.site import Endpoint
from atoll.wire.message import Request
from atoll.wire.server import Reply, ServerConnection, ServerSettings


async def nothing(request: Request, reply: Reply) -> None:
    del request, reply


async def test_a_renamed_access_log_is_opened_anew(tmp_path):
    path = tmp_path / "access.log"
    telemetry = Telemetry(str(path))
    telemetry.now = time.monotonic
    watch = Watch()
    origin = Origin("http://127.0.0.1:1", site="paris", watch=watch)
    endpoint = Endpoint(
        site="paris",
        service_type="compute",
        origin=origin,
        root=b"",
        url="http://127.0.0.1:1",
        links=Links(()),
    )
    request = Request(b"GET", b"/compute/v2.1/servers", {}, [])
    call = Call(request, Reply(ServerConnection(ServerSettings(nothing)), request), "req-1", 1.0)
    try:
        for name in ("one", "two"):
            call.id = name
            telemetry.site_answered(call, endpoint, b"GET", 200, telemetry.now())
            telemetry.flush()
            if name == "one":
                await asyncio.to_thread(path.rename, tmp_path / "access.log.1")
    finally:
        watch.close()
        telemetry.close()
    assert '"request_id":"one"' in (tmp_path / "access.log.1").read_text()
    assert '"request_id":"two"' in path.read_text()
    assert "one" not in path.read_text()
