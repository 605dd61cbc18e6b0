"""Passwords and secrets: scrypt of the standard library, and how often one may try.

scrypt because it comes with Python (OpenSSL), needs memory as well as time, and releases the interpreter
while it works; argon2 and bcrypt would each be one more package to trust.
"""

import asyncio
import base64
import hashlib
import hmac
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from atoll.core.errors import Unauthorized
from atoll.core.limiter import Limiter

LONGEST: Final = 4096
"""Bytes of a password; Keystone's own bound."""
AUTHENTICATION_REQUIRED: Final = "The request you have made requires authentication."

# Wrong passwords for one user from one address: so many at once, then one in so many seconds.
USER_BURST, USER_SECONDS = 10, 6.0
# From one address whoever is named: a room full of people may sit behind it.
ADDRESS_BURST, ADDRESS_SECONDS = 60, 1.0
# Hashes worked out at once: each takes 32 MB.
TOGETHER: Final = 2


class Cost(NamedTuple):
    """What a hash costs: scrypt's N (as its logarithm), r and p."""

    log_n: int
    r: int
    p: int


COST: Final = Cost(15, 8, 3)
"""32 MB and about a quarter of a second, as OWASP's cheat sheet has it for this much memory."""


def hashed(password: str, cost: Cost = COST) -> str:
    """Give a hash with its salt and cost; slow on purpose. Raises ValueError for more than LONGEST bytes."""
    salt = os.urandom(16)
    return _written(cost, salt, _derived(_bytes(password), salt, cost))


def matches(password: str, kept: str) -> bool:
    """Whether a hash is that of a password; slow on purpose."""
    log_n, r, p, salt, digest = kept.split("$")[1:]
    cost = Cost(int(log_n), int(r), int(p))
    given = _derived(_bytes(password), base64.b64decode(salt), cost)
    return hmac.compare_digest(given, base64.b64decode(digest))


def _bytes(password: str) -> bytes:
    # JSON can hold half of a surrogate pair; no password is refused for it.
    data = password.encode("utf-8", "surrogatepass")
    if len(data) > LONGEST:
        raise ValueError(f"The password length must be less than or equal to {LONGEST}.")
    return data


def _derived(data: bytes, salt: bytes, cost: Cost) -> bytes:
    memory = 128 * cost.r * (2**cost.log_n + cost.p + 2)
    return hashlib.scrypt(data, salt=salt, n=2**cost.log_n, r=cost.r, p=cost.p, maxmem=memory, dklen=32)


def _written(cost: Cost, salt: bytes, digest: bytes) -> str:
    parts = (*map(str, cost), *(base64.b64encode(one).decode() for one in (salt, digest)))
    return "$".join(("scrypt", *parts))


class Passwords:
    """Makes hashes and compares them, without holding up the event loop, and limits wrong ones.

    `now` gives seconds that only go forward.
    """

    def __init__(self, *, now: Callable[[], float], cost: Cost = COST) -> None:
        self._now = now
        self._cost = cost
        self._threads = ThreadPoolExecutor(TOGETHER, thread_name_prefix="password")
        message = "Too many wrong passwords."
        self._users = Limiter(1 / USER_SECONDS, USER_BURST, message)
        self._addresses = Limiter(1 / ADDRESS_SECONDS, ADDRESS_BURST, message)
        # What no password is compared with: as slow as any other.
        self.nobody = _written(cost, os.urandom(16), os.urandom(32))

    async def hashed(self, password: str) -> str:
        """Give the hash of a new password. Raises ValueError where it is too long."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, hashed, password, self._cost)

    async def check(self, password: str, kept: str | None, *, who: str, address: str) -> None:
        """Compare a password with a hash; None where there is nobody to compare it with.

        `who` is what was asked for, whether that exists or not. The answer takes as long either way. Only
        wrong ones count. Raises Unauthorized, TooManyRequests.
        """
        now = self._now()
        pair = f"{address} {who[:255]}"
        self._users.take(pair, now)
        self._addresses.take(address, now)
        loop = asyncio.get_running_loop()
        try:
            good = await loop.run_in_executor(self._threads, matches, password, kept or self.nobody)
        except ValueError:
            good = False
        if not good or not kept:
            raise Unauthorized(AUTHENTICATION_REQUIRED)
        self._users.give_back(pair)
        self._addresses.give_back(address)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
