"""Atoll's own user at the clients' Keystone, by whom runs do what is an operator's."""

import asyncio
from collections.abc import Callable
from typing import Final

from atoll.core.errors import Forbidden, SiteUnavailable
from atoll.core.settings import Config
from atoll.trust.clouds_yaml import read_entry, v3_url
from atoll.trust.login import Login, LoginError, LoginRefused, login
from atoll.trust.records import CloudRecord, is_administrators

USED: Final = 0.8
"""The part of a token's life in which it is used."""


class ServiceUser:
    """Logs in when it is first needed, and again before its token ends."""

    def __init__(self, config: Config, log_in: Callable[[], Login] | None = None) -> None:
        self._entry = config.runs.clouds_yaml
        self._cloud = CloudRecord(
            name="the clients' own",
            auth_url=v3_url(config.identity.auth_url),
            verify=config.identity.verify,
            cacert=config.identity.cacert,
            declared=True,
        )
        self._log_in = log_in or self._logged_in
        self._login: Login | None = None
        self._until = 0.0
        self._turn = asyncio.Lock()

    @property
    def configured(self) -> bool:
        """Whether there is one."""
        return bool(self._entry)

    async def login(self) -> Login:
        """Who it is, with a token that can be used. Raises `Forbidden`, `SiteUnavailable`."""
        if not self._entry:
            raise Forbidden("Atoll has no user of its own at this Keystone: name one in [runs] clouds_yaml.")
        async with self._turn:
            loop = asyncio.get_running_loop()
            if self._login is None or loop.time() >= self._until:
                try:
                    self._login = await asyncio.to_thread(self._log_in)
                except LoginRefused as error:
                    raise Forbidden(f"Atoll's own user {self._entry} cannot log in: {error}") from error
                except LoginError as error:
                    raise SiteUnavailable(f"Atoll's own user cannot log in now: {error}") from error
                self._until = loop.time() + self._login.life * USED
            return self._login

    def refused(self, token: bytes) -> None:
        """A site said 401 to this token."""
        if self._login is not None and self._login.token == token:
            self._login = None

    def _logged_in(self) -> Login:
        entry = read_entry(self._entry)
        if entry.cloud.auth_url.lower() != self._cloud.auth_url.lower():
            raise LoginRefused(f"it is for {entry.cloud.auth_url}, the clients' is {self._cloud.auth_url}")
        who = login(self._cloud, entry.options, private=True)
        if not is_administrators(who.roles):
            raise LoginRefused("it has no admin role")
        return who
