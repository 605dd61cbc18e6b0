"""HTTP for logins: to permitted addresses only, answers bounded, nothing taken from the environment."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from atoll.core.addresses import is_public
from atoll.sites.certificates import Certificates

ANSWER_BYTES: Final = 4 * 1024 * 1024
ANSWER_SECONDS: Final = 30.0
"""For all of an answer: one that comes drop by drop would hold its thread for ever."""
_PIECE: Final = 65536


class NotPublic(Exception):
    """A host is at an address that is not of the public net."""


class _PublicConnection(HTTPConnection):
    """Says nothing to an address that is not public, whatever the resolver said before."""

    def _new_conn(self) -> Any:
        made = super()._new_conn()
        if not is_public(made.getpeername()[0]):
            made.close()
            raise NotPublic
        return made


class _TlsConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        # Where that is not so the operator said `verify = false`; urllib3 would warn of it at every login.
        self.is_verified = True


class _PublicTlsConnection(_PublicConnection, _TlsConnection):
    pass


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _PublicPool(HTTPConnectionPool):
    ConnectionCls = _PublicConnection


class _PublicTlsPool(HTTPSConnectionPool):
    ConnectionCls = _PublicTlsConnection


class _Bounded(HTTPAdapter):
    def __init__(self, *, private: bool) -> None:
        super().__init__(pool_connections=1, pool_maxsize=1)
        pools: dict[str, type[HTTPConnectionPool]] = {"http": HTTPConnectionPool, "https": _TlsPool}
        self.poolmanager.pool_classes_by_scheme = (
            pools if private else {"http": _PublicPool, "https": _PublicTlsPool}
        )

    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        end = time.monotonic() + ANSWER_SECONDS
        answer = super().send(request, *args, **{**kwargs, "stream": True})
        pieces, size = [], 0
        for piece in answer.iter_content(_PIECE):
            pieces.append(piece)
            size += len(piece)
            if size > ANSWER_BYTES or time.monotonic() > end:
                answer.close()
                raise requests.ConnectionError("the answer has no end")
        answer._content = b"".join(pieces)  # noqa: SLF001 - as requests' own does when it has read all
        return answer


def bounded_session(*, private: bool) -> requests.Session:
    """A session of one use. `private` allows addresses that are not public."""
    made = requests.Session()
    # Neither proxies nor ~/.netrc nor CA bundles of the environment: the cloud's own settings say all.
    made.trust_env = False
    for scheme in ("http://", "https://"):
        made.mount(scheme, _Bounded(private=private))
    return made


class _Pinned(_Bounded):
    def __init__(self, certificates: Certificates, asked: Callable[[], None]) -> None:
        super().__init__(private=True)
        self._certificates = certificates
        self._asked = asked

    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        self._asked()
        said = self._certificates
        checked = {
            "verify": said.cacert or True if said.verify else False,
            "cert": (said.cert, said.key) if said.key else said.cert or None,
        }
        return super().send(request, *args, **{**kwargs, **checked})


def pinned_session(places: Mapping[str, tuple[Certificates, Callable[[], None]]]) -> requests.Session:
    """A session of one use that goes to what begins with one of these URLs, and nowhere else.

    Each has its own way of checking certificates, and is told before each request.
    """
    made = requests.Session()
    made.trust_env = False
    made.adapters.clear()
    for prefix, (certificates, asked) in places.items():
        made.mount(prefix, _Pinned(certificates, asked))
    return made
