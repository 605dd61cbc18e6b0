"""Atoll's own user at the clients' Keystone: by it runs do what is an operator's, and act as other users.

A trust (OS-TRUST) lets it have tokens of the user who made it, of one project and with the roles named.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from atoll.core.errors import Forbidden, SiteUnavailable
from atoll.core.settings import Config
from atoll.trust.clouds_yaml import read_entry, v3_url
from atoll.trust.login import Login, LoginError, LoginRefused, Options, login
from atoll.trust.records import CloudRecord, is_administrators

USED: Final = 0.8
"""The part of a token's life in which it is used."""

TRUSTS: Final = 1000
"""Logins by trusts that are kept."""

_SCOPES: Final = ("project_", "tenant_", "domain_", "system_scope")
_NONE: Final = "Atoll has no user of its own at this Keystone: name one in [runs] clouds_yaml."


@dataclass(frozen=True, slots=True)
class _Kept:
    login: Login
    until: float


class ServiceUser:
    """Logs in when it is first needed, and again before its token ends. `log_in`: of a trust's id, or "".

    At most one login at a time, whatever the number of runs that wait for it.
    """

    def __init__(self, config: Config, log_in: Callable[[str], Login] | None = None) -> None:
        self._entry = config.runs.clouds_yaml
        self._cloud = CloudRecord(
            name="the clients' own",
            auth_url=v3_url(config.identity.auth_url),
            verify=config.identity.verify,
            cacert=config.identity.cacert,
            declared=True,
        )
        self._log_in = log_in or self._logged_in
        self._kept: dict[str, _Kept] = {}
        self._turn = asyncio.Lock()

    @property
    def configured(self) -> bool:
        """Whether there is one."""
        return bool(self._entry)

    async def login(self, trust_id: str = "") -> Login:
        """Who it is, or acts for by a trust, with a token that can be used.

        Raises `Forbidden`, `SiteUnavailable`.
        """
        if not self._entry:
            raise Forbidden(_NONE)
        async with self._turn:
            loop = asyncio.get_running_loop()
            kept = self._kept.get(trust_id)
            if kept is None or loop.time() >= kept.until:
                made = await self._made(trust_id)
                if len(self._kept) >= TRUSTS:
                    self._kept.clear()
                kept = self._kept[trust_id] = _Kept(made, loop.time() + made.life * USED)
            return kept.login

    async def token(self) -> bytes:
        """A token of its own that can be used. Raises `Forbidden`, `SiteUnavailable`."""
        return (await self.login()).token

    async def _made(self, trust_id: str) -> Login:
        try:
            return await asyncio.to_thread(self._log_in, trust_id)
        except LoginRefused as error:
            by = f" by the trust {trust_id}" if trust_id else ""
            raise Forbidden(f"Atoll's own user {self._entry} cannot log in{by}: {error}") from error
        except LoginError as error:
            raise SiteUnavailable(f"Atoll's own user cannot log in now: {error}") from error

    def refused(self, token: bytes) -> None:
        """Somebody said 401 to this token."""
        self._kept = {key: kept for key, kept in self._kept.items() if kept.login.token != token}

    def forget(self, trust_id: str) -> None:
        """A trust is over."""
        self._kept.pop(trust_id, None)

    def _logged_in(self, trust_id: str) -> Login:
        entry = read_entry(self._entry)
        if entry.cloud.auth_url.lower() != self._cloud.auth_url.lower():
            raise LoginRefused(f"it is for {entry.cloud.auth_url}, the clients' is {self._cloud.auth_url}")
        options = _by_trust(entry.options, trust_id) if trust_id else entry.options
        who = login(self._cloud, options, private=True)
        if not trust_id and not is_administrators(who.roles):
            raise LoginRefused("it has no admin role")
        return who


def _by_trust(options: Options, trust_id: str) -> Options:
    """A user's own login, scoped to a trust instead of a project. Raises `LoginRefused`."""
    if options.auth_type not in {"password", "v3password"}:
        raise LoginRefused(f"a trust is for a user with a password, its auth_type is {options.auth_type}")
    auth: dict[str, Any] = {key: value for key, value in options.auth.items() if not key.startswith(_SCOPES)}
    return Options(auth_type="v3password", auth={**auth, "trust_id": trust_id})
