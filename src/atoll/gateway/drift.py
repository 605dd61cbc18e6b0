"""Checking sites without being asked, where an administrator's credential allows it: every few minutes.

A site that knows the clients' own tokens is checked by whoever asks for it: Atoll has no token for it.
"""

import asyncio
import time
from typing import Final

import structlog

from atoll.core.errors import AtollError
from atoll.core.jitter import JITTER
from atoll.gateway.call import Caller, own_call
from atoll.gateway.parts import Parts
from atoll.gateway.site_check import check, tell
from atoll.inventory.records import SiteSeenRecord
from atoll.sites.site import Site
from atoll.store import StoreError

log = structlog.get_logger()

EVERY: Final = 600.0
"""Seconds between two checks of a site, whichever gateway makes them."""
LOOK: Final = 30.0
"""Seconds between two looks whether a site is due."""
DEADLINE: Final = 60.0
"""Seconds that a check may take."""


class Drift:
    """Checks sites for as long as it runs, one after the other."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def run(self) -> None:
        """Look for ever, in each process at a moment of its own."""
        while True:
            for site in list(self._parts.sites):
                try:
                    await self._look(site)
                except (AtollError, StoreError) as error:
                    log.warning("site_not_checked", site=site.name, reason=str(error)[:256])
            await asyncio.sleep(LOOK * JITTER.uniform(0.8, 1.2))

    async def _look(self, site: Site) -> None:
        parts = self._parts
        before = parts.registry.get(SiteSeenRecord, site.name)
        if site.cloud is None or (before is not None and time.time() - before.at < EVERY):
            return
        caller = self._administrator(site.cloud)
        if caller is None or parts.trust.grants(caller, site.cloud, True) is None:
            return
        call = own_call(caller, asyncio.get_running_loop().time() + DEADLINE)
        seen = await check(parts, call, site, before)
        await parts.registry.change(lambda ledger: ledger.put(seen))
        if before is None or before.findings != seen.findings:
            tell(seen)

    def _administrator(self, cloud: str) -> Caller | None:
        """Whom an administrator's credential of a cloud is for."""
        for one in self._parts.trust.credentials().values():
            if one.cloud == cloud and one.admin:
                return Caller(
                    token=b"",
                    user_id="atoll",
                    project_id=one.project_id,
                    roles=frozenset({"admin"}),
                    is_admin=True,
                    until=float("inf"),
                )
        return None
