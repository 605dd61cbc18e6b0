"""Keystone to Keystone, with keystoneauth: a caller's token becomes one of another Keystone.

Blocks: called in threads only. What goes where is pinned by the operator: the caller's token to the clients'
Keystone, the assertion to the service provider's one address, the token of there to its Keystone.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from atoll.core.settings import Config
from atoll.sites.certificates import Certificates, CertificatesError, context_of
from atoll.trust.login import LOGIN_SECONDS, CloudAway, Login, LoginError, LoginRefused, read_login
from atoll.trust.records import certificates_of

IDP: Final = "the clients' Keystone"
SP: Final = "its service provider"
THERE: Final = "its Keystone"
EXCHANGE_SECONDS: Final = 20.0
"""For all requests of an exchange but the last: each holds a thread."""
MOST_PROJECTS: Final = 10_000
"""Projects that are looked at for one of the right name."""


class CallerRefused(LoginError):
    """The clients' own Keystone knows the caller's token no more."""


class CloudFalters(CloudAway):
    """It answers, with an error: maybe to all, maybe to this caller only."""


class NothingThere(LoginRefused):
    """The cloud says that the caller has no such project there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an operator said of a cloud whose Keystone believes the clients' (the identity provider).

    `identity_url` and `auth_url` are the two Keystones', with their version; `service_provider` is the id
    under which the clients' Keystone knows the other. `sp_url` is where assertions are handed in ("":
    anything at the address of `auth_url`). `projects` are the clients' and the cloud's ids of those that have
    other names there; `project_domain` is the name or id of the domain of all others.
    """

    identity_url: str
    auth_url: str
    service_provider: str
    sp_url: str = ""
    projects: Mapping[str, str] = field(default_factory=dict)
    project_domain: str = ""
    identity_certificates: Certificates = field(default_factory=Certificates)
    certificates: Certificates = field(default_factory=Certificates)


def terms_of(config: Config) -> dict[str, Terms]:
    """What is said of the clouds whose Keystone believes the clients', by name."""
    return {
        name: Terms(
            identity_url=config.identity.auth_url,
            auth_url=one.auth_url,
            service_provider=one.service_provider,
            sp_url=one.sp_url,
            projects=one.projects,
            project_domain=one.project_domain,
            identity_certificates=certificates_of(config, None, ""),
            certificates=certificates_of(config, None, name),
        )
        for name, one in config.clouds.items()
        if one.trust == "federated"
    }


def exchange(terms: Terms, token: str) -> Login:
    """Who the caller of a token is at the cloud, for no longer than that token lives. Raises LoginError."""
    from keystoneauth1 import exceptions, session  # noqa: PLC0415

    from atoll.trust.sessions import pinned_session  # noqa: PLC0415

    steps = _Steps(terms, token)
    try:
        for certificates in (terms.identity_certificates, terms.certificates):
            context_of(certificates)
    except CertificatesError as error:
        raise CloudAway(str(error)) from error
    http = pinned_session(steps.places())
    http.hooks["response"].append(steps.answered)
    sending = session.Session(session=http, redirect=False, timeout=LOGIN_SECONDS, user_agent="atoll")
    try:
        return steps.run(sending)
    except exceptions.SSLError as error:
        raise CloudAway(
            f"the certificate of {steps.asking} is not trusted (a private one is named with cacert)"
        ) from error
    except exceptions.ConnectTimeout as error:
        raise CloudAway(f"{steps.asking} gives no answer in {LOGIN_SECONDS:.0f} s") from error
    except exceptions.ConnectionError as error:
        raise CloudAway(f"{steps.asking} cannot be reached") from error
    except (exceptions.HttpError, exceptions.AuthorizationFailure) as error:
        raise steps.refusal() from error
    except (exceptions.ClientException, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        # Of what comes from there nothing is repeated: it may hold what was sent.
        raise CloudFalters(f"{steps.asking} gave no token but {type(error).__name__}") from error
    finally:
        http.close()


class _Steps:
    """One exchange; `asking` is who was asked last."""

    def __init__(self, terms: Terms, token: str) -> None:
        self._terms = terms
        self._token = token
        self._end = time.monotonic() + EXCHANGE_SECONDS
        self._status = 0
        self._vouched = self._scoping = False
        self.asking = IDP

    def places(self) -> dict[str, tuple[Certificates, Any]]:
        """Where it may go: the Keystones, and the service provider's address for assertions."""
        terms = self._terms
        handed_in = terms.sp_url or _origin(terms.auth_url) + "/"
        return {
            handed_in: (terms.certificates, lambda: self._ask(SP)),
            f"{terms.auth_url}/": (terms.certificates, lambda: self._ask(THERE)),
            # The last: where all is at one address, the longest one of these is meant.
            f"{terms.identity_url}/": (terms.identity_certificates, lambda: self._ask(IDP)),
        }

    def _ask(self, who: str) -> None:
        """Note who is asked. Raises CloudAway where the whole takes too long."""
        if time.monotonic() > self._end:
            raise CloudAway(f"{self.asking} took most of {EXCHANGE_SECONDS:.0f} s")
        self.asking, self._status = who, 0

    def answered(self, answer: Any, **_: object) -> None:
        """Note an answer: some of keystoneauth's errors do not say its status."""
        self._status = int(answer.status_code)

    def run(self, sending: Any) -> Login:
        """Caller, assertion, unscoped token, project, token. Raises LoginError and what keystoneauth does."""
        from keystoneauth1.identity import v3  # noqa: PLC0415

        caller = self._caller(sending)
        left = (caller.expires - datetime.now(UTC)).total_seconds()
        if left <= 0:
            raise CallerRefused("the caller's token has expired")
        self._vouched = True
        unscoped = self._plugin(caller).get_unscoped_auth_ref(sending)
        there, scope = self._candidates(sending, caller, unscoped.auth_token)
        self._scoping = True
        plugin = v3.Token(self._terms.auth_url, unscoped.auth_token, include_catalog=False, **scope)
        found = read_login(plugin.get_auth_ref(sending))
        if found.project_id not in there or found.user_id != unscoped.user_id:
            raise CloudFalters("its Keystone gave a token of another project or user than was asked for")
        return replace(found, life=min(found.life, left))

    def _caller(self, sending: Any) -> Any:
        """What the clients' Keystone says of the caller's token, service providers included."""
        from keystoneauth1 import access  # noqa: PLC0415

        headers = {
            "Accept": "application/json",
            "X-Auth-Token": self._token,
            "X-Subject-Token": self._token,
            "OpenStack-Identity-Access-Rules": "1.0",
        }
        url = f"{self._terms.identity_url}/auth/tokens?nocatalog"
        return access.create(resp=sending.get(url, headers=headers, authenticated=False))

    def _plugin(self, caller: Any) -> Any:
        """Keystoneauth's own exchange, by a token that is there already, to where the operator said."""
        from keystoneauth1.identity import access  # noqa: PLC0415
        from keystoneauth1.identity.v3.k2k import Keystone2Keystone  # noqa: PLC0415

        terms = self._terms
        sp_auth_url, sp_url = _service_provider(caller, terms)

        class Caller(access.AccessInfoPlugin):
            """The caller, as the clients' Keystone knows them."""

            def get_endpoint(self, *_: object, **__: object) -> str:
                return terms.identity_url

            def get_sp_auth_url(self, *_: object) -> str:
                return sp_auth_url

            def get_sp_url(self, *_: object) -> str:
                return sp_url

        return Keystone2Keystone(Caller(caller, terms.identity_url), terms.service_provider)

    def _candidates(self, sending: Any, caller: Any, unscoped: str) -> tuple[set[str], dict[str, Any]]:
        """The ids that the project may have there, and how it is asked for."""
        headers = {"Accept": "application/json", "X-Auth-Token": unscoped}
        url = f"{self._terms.auth_url}/auth/projects"
        answer = sending.get(url, headers=headers, authenticated=False)
        listed = [one for one in answer.json()["projects"][:MOST_PROJECTS] if one.get("enabled", True)]
        if (declared := self._terms.projects.get(caller.project_id)) is not None:
            if declared not in {one["id"] for one in listed}:
                raise NothingThere(
                    f"its Keystone does not let this user into the project {declared}, "
                    "which the configuration names"
                )
            return {declared}, {"project_id": declared}
        name, domain = caller.project_name, self._terms.project_domain
        named = [one for one in listed if one["name"] == name]
        by_id = {one["id"] for one in named if one.get("domain_id") == domain}
        if not named:
            raise NothingThere(f"its Keystone has no project {name} that this user may use")
        if by_id or (not domain and len(named) == 1):
            (found,) = by_id or {named[0]["id"]}
            return {found}, {"project_id": found}
        if not domain:
            raise LoginRefused(
                f"its Keystone has {len(named)} projects {name} for this user: the configuration has to say "
                "which (project_domain or projects of the cloud)"
            )
        scope = {"project_name": name, "project_domain_name": domain}
        return {one["id"] for one in named}, scope

    def refusal(self) -> LoginError:
        """What an answer means that is no yes."""
        status = self._status
        if self.asking == IDP:
            return self._unvouched(status)
        if self.asking == SP:
            return CloudFalters(f"its service provider does not take the assertion ({status})")
        if status in {401, 403}:
            what = "into the project" if self._scoping else "in by any rule of its mapping"
            return NothingThere(f"its Keystone does not let this user {what} ({status})")
        return CloudFalters(f"its Keystone answers {status}")

    def _unvouched(self, status: int) -> LoginError:
        if status == 401 or (status == 404 and not self._vouched):
            return CallerRefused("the clients' Keystone knows the caller's token no more")
        if not self._vouched:
            return CloudFalters(f"the clients' Keystone answers {status}")
        if status in {400, 403, 404}:
            return LoginRefused(f"the clients' Keystone vouches for no token like the caller's ({status})")
        return CloudFalters(
            f"the clients' Keystone makes no assertion ({status}): is it set up as an identity provider?"
        )


def _service_provider(caller: Any, terms: Terms) -> tuple[str, str]:
    """The service provider's URLs in the caller's token, which must be the operator's. Raises CloudAway."""
    from keystoneauth1.exceptions import ServiceProviderNotFound  # noqa: PLC0415

    name = terms.service_provider
    try:
        auth_url, sp_url = (
            str(look(name))
            for look in (caller.service_providers.get_auth_url, caller.service_providers.get_sp_url)
        )
    except ServiceProviderNotFound as error:
        raise CloudAway(f"the clients' Keystone has no service provider {name}") from error
    keystone = auth_url.partition("/OS-FEDERATION/")[0]
    if keystone.lower() != terms.auth_url.lower():
        raise CloudAway(
            f"the clients' Keystone says that the service provider {name} is at {keystone}, "
            f"the configuration that it is at {terms.auth_url}"
        )
    pinned = sp_url == terms.sp_url if terms.sp_url else _origin(sp_url) == _origin(terms.auth_url)
    if not pinned:
        raise CloudAway(
            f"the clients' Keystone says that assertions for {name} go to {sp_url}, "
            f"the configuration that they go to {terms.sp_url or _origin(terms.auth_url)}"
        )
    return auth_url, sp_url


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
