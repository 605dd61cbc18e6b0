"""Having runs go on that waited for a site, as soon as it is seen to be back."""

import asyncio

import structlog

from atoll.sites.site import Site, Sites
from atoll.store import StoreError
from atoll.store.runs import Runs

log = structlog.get_logger()


class SiteWakes:
    """Looks at the sites each time that they were probed."""

    def __init__(self, sites: Sites, runs: Runs) -> None:
        self._sites = sites
        self._runs = runs
        self._away: set[str] = set()
        self._waking: set[asyncio.Task[None]] = set()

    def look(self) -> None:
        """Wake what waits for those sites that were away and are not any more."""
        away = {site.name for site in self._sites if not _answers(site)}
        for name in self._away - away:
            task = asyncio.get_running_loop().create_task(self._wake(name))
            self._waking.add(task)
            task.add_done_callback(self._waking.discard)
        self._away = away

    async def _wake(self, name: str) -> None:
        try:
            woken = await self._runs.wake(f"site/{name}")
        except StoreError as error:
            log.warning("runs_not_woken", site=name, error=str(error))  # they look for themselves
        else:
            log.info("site_back", site=name, runs=woken)


def _answers(site: Site) -> bool:
    return all(site.healthy(service) for service in site.endpoints)
