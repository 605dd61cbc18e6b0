"""What is done before the clients' functional tests, so that they can be run again."""

import asyncio

from atoll.sandbox.real.api import Cloud as Api
from atoll.sandbox.real.catalog import Identity
from atoll.sandbox.real.functional import DOMAINS, forget_domains
from atoll.sandbox.real.model import Credentials
from atoll.sandbox.simulated import Cloud


async def test_what_an_earlier_run_left_is_deleted_and_nothing_else(cloud: Cloud) -> None:
    admin = Credentials(cloud.keystone.auth_url, "admin", cloud.password, "admin")
    identity = Identity(Api(admin, "RegionOne"))

    def left_and_found() -> list[str]:
        for name in (*DOMAINS, "updated names"):
            identity.ensure("domains", name)
        forget_domains(identity)
        return sorted(identity.named("domains"))

    assert await asyncio.to_thread(left_and_found) == ["Default", "updated names"]
