"""The keys that tokens are made with: in the store, so that every gateway takes every gateway's tokens.

Whoever can read the store could make tokens, so a key can be sealed there (`Sealing`). A new key is made in
good time and used only when every gateway has seen it; an old one is kept until its last token has expired.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Final, Protocol

import msgspec
import structlog
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from atoll.store import Document, Ledger, Registry

_log = structlog.get_logger(__name__)

ROTATE_SECONDS: Final = 7 * 86400.0
"""How long a key makes tokens."""
SEEN_SECONDS: Final = 60.0
"""After this long every gateway has a new key: they look once a second, their clocks may differ a little."""


class Sealing(Protocol):
    """Encrypts what is kept in the store."""

    def seal(self, plain: bytes) -> str:
        """Give it encrypted."""

    def unseal(self, sealed: str) -> bytes:
        """Give it back. Raises ValueError where it was sealed with another key."""


class Unsealed:
    """Keeps it as it is: the store alone has to be kept from others, as that of one process is (0600)."""

    def seal(self, plain: bytes) -> str:
        """Give it as text."""
        return plain.decode("ascii")

    def unseal(self, sealed: str) -> bytes:
        """Give it back."""
        return sealed.encode("ascii")


class TokenKey(Document, frozen=True, kw_only=True):
    """A key. `made` is seconds since 1970 and tells one from another."""

    kind: ClassVar[str] = "identity_token_key"

    made: float
    secret: str

    @property
    def key(self) -> str:
        """When it was made, so that the keys stand in order."""
        return f"{self.made:017.6f}"


class Keys:
    """Makes tokens out of bytes and back. `clock` gives seconds since 1970, as the store's does.

    `longest` is how long a token may live at most (seconds).
    """

    def __init__(
        self,
        registry: Registry,
        *,
        clock: Callable[[], float],
        longest: float,
        sealing: Sealing | None = None,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._longest = longest
        self._sealing = sealing or Unsealed()
        self._fernets: dict[str, Fernet | None] = {}
        registry.on_change((TokenKey,), self._fernets.clear)

    async def ensure(self) -> None:
        """See to it that there is a key, and that the newest is not too old. Raises `StoreError`."""
        if not self._due(self._usable(self._registry.all(TokenKey).values())):
            return
        now = self._clock()
        fresh = TokenKey(made=now, secret=self._sealing.seal(Fernet.generate_key()))

        def work(ledger: Ledger) -> None:
            kept = list(ledger.all(TokenKey).values())
            if not self._due(self._usable(kept)):  # another gateway was first
                return
            ledger.put(fresh)
            for one, next_one in itertools.pairwise(kept):
                if next_one.made + SEEN_SECONDS + self._longest < now:
                    ledger.drop(TokenKey, one.key)

        await self._registry.change(work)

    def _usable(self, keys: Iterable[TokenKey]) -> list[TokenKey]:
        """Those that can be opened; of the rest every token is refused, and its user logs in again."""
        return [one for one in keys if self._fernet(one) is not None]

    def _due(self, keys: Sequence[TokenKey]) -> bool:
        return not keys or keys[-1].made + ROTATE_SECONDS < self._clock()

    def encrypt(self, content: bytes) -> str:
        """Give a token. Raises LookupError before there is a key."""
        keys = self._usable(self._registry.all(TokenKey).values())
        if not keys:
            raise LookupError("no key was made")
        seen = [one for one in keys if one.made + SEEN_SECONDS < self._clock()]
        fernet = self._fernet(seen[-1] if seen else keys[0])
        assert fernet is not None  # noqa: S101 - only usable ones were asked
        return fernet.encrypt(content).decode("ascii")

    def decrypt(self, token: str) -> bytes:
        """Give what a token holds. Raises ValueError where it is none of ours."""
        fernets = [self._fernet(one) for one in self._registry.all(TokenKey).values()]
        try:
            return MultiFernet([one for one in fernets[::-1] if one is not None]).decrypt(token)
        except (InvalidToken, ValueError) as error:
            raise ValueError("no token of ours") from error

    def _fernet(self, key: TokenKey) -> Fernet | None:
        if key.key not in self._fernets:
            try:
                self._fernets[key.key] = Fernet(self._sealing.unseal(key.secret))
            except ValueError:
                self._fernets[key.key] = None
                _log.warning("token_key_not_opened", made=key.made)
        return self._fernets[key.key]


def reseal(ledger: Ledger, sealing: Sealing) -> int:
    """Seal the keys anew that can be opened; how many."""
    changed = 0
    for one in ledger.all(TokenKey).values():
        try:
            plain = sealing.unseal(one.secret)
        except ValueError:
            continue
        ledger.put(msgspec.structs.replace(one, secret=sealing.seal(plain)))
        changed += 1
    return changed
