"""Logging in at a Keystone, with keystoneauth. Blocks: called in threads only.

keystoneauth takes a while to import and some memory: nothing here is imported before somebody logs in.
"""

import functools
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, distribution
from typing import Any, Final

import msgspec

from atoll.core.access_rules import AccessRule
from atoll.sites.certificates import CertificatesError, context_of
from atoll.trust.records import CloudRecord

LOGIN_SECONDS: Final = 10.0
"""How long Keystone may take for a piece of its answer; longer is away."""

NOT_PUBLIC: Final = (
    "its Keystone is at no public address, which the operator has to allow: [limits] private_addresses = true"
)
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,8192}")
_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_GENERIC: Final = {"password": "v3password", "token": "v3token", "v2password": "", "v2token": ""}
"""What stands for types that would ask first which versions there are: the URL says it. v2 is gone."""
_NO_KEYSTONE: Final = frozenset({"none", "http_basic", "admin_token"})
_PEOPLE: Final = frozenset({"v3oidcauthcode", "v3oidcdeviceauthz", "v3websso"})


# The first look for a type takes a while, and that many times as long where threads look at once.
_loading: Final = threading.Lock()


class LoginError(Exception):
    """Nobody could be logged in; says why, without anything secret."""


class LoginRefused(LoginError):
    """The credential is not good: trying again changes nothing."""


class Replaced(LoginError):
    """Another credential has taken the place of this one: whoever asks again asks with that."""


class CloudAway(LoginError):
    """Keystone does not answer, or not properly; the credential may be good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What keystoneauth needs to log in somewhere: a type and its options. Never shown."""

    auth_type: str
    auth: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who a credential is at a cloud. `life` is how long the token lives, in seconds from now."""

    token: bytes = field(repr=False)
    life: float
    project_id: str
    user_id: str
    domain_id: str
    roles: tuple[str, ...]
    rules: tuple[AccessRule, ...] | None = None  # all that the token may be used for; None: anything
    catalog: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)


def login(cloud: CloudRecord, options: Options, *, private: bool, catalog: bool = False) -> Login:
    """Log in. `private` allows addresses that are not public. Raises LoginError."""
    from keystoneauth1 import exceptions, session  # noqa: PLC0415

    from atoll.trust.sessions import NotPublic, bounded_session  # noqa: PLC0415

    plugin = _plugin(cloud, options)
    plugin.include_catalog = catalog
    if cloud.cacert or cloud.cert:
        try:
            context_of(cloud.certificates)
        except CertificatesError as error:
            raise LoginRefused(str(error)) from error
    http = bounded_session(private=private)
    sending = session.Session(
        session=http,
        verify=cloud.cacert or True if cloud.verify else False,
        cert=(cloud.cert, cloud.secret_key) if cloud.secret_key else cloud.cert or None,
        redirect=False,
        timeout=LOGIN_SECONDS,
        user_agent="atoll",
    )
    try:
        access = plugin.get_auth_ref(sending)
        return read_login(access, catalog=catalog)
    except exceptions.SSLError as error:
        raise CloudAway("its certificate is not trusted (a private one is named with cacert)") from error
    except exceptions.ConnectTimeout as error:
        raise CloudAway(f"its Keystone gives no answer in {LOGIN_SECONDS:.0f} s") from error
    except exceptions.ConnectionError as error:
        raise CloudAway("its Keystone cannot be reached") from error
    except NotPublic as error:
        raise LoginRefused(NOT_PUBLIC) from error
    except exceptions.HttpError as error:
        raise _said(int(error.http_status)) from error
    except (exceptions.ClientException, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        # Of what comes from there nothing is repeated: it may hold what was sent.
        raise CloudAway(f"its Keystone gave no token but {type(error).__name__}") from error
    finally:
        http.close()


def _plugin(cloud: CloudRecord, options: Options) -> Any:
    from keystoneauth1 import exceptions  # noqa: PLC0415

    name = _GENERIC.get(options.auth_type, options.auth_type)
    if not name:
        raise LoginRefused(f"the type {options.auth_type} is of Keystone v2, which is gone")
    if name in _NO_KEYSTONE or name in _PEOPLE:
        why = "does not log in at a Keystone" if name in _NO_KEYSTONE else "needs a person at a browser"
        raise LoginRefused(f"the type {options.auth_type} {why}")
    auth = {**options.auth, "auth_url": cloud.auth_url}
    try:
        loader = _loader(name)
        known = {one.dest for one in loader.get_options()} | {"auth_methods"}
        if name != "v3multifactor":
            auth = {key: value for key, value in _v3(auth, known).items() if key in known}
        return loader.load_from_options(**auth)
    except exceptions.NoMatchingPlugin as error:
        raise LoginRefused(f"there is no type {options.auth_type}") from error
    except exceptions.MissingRequiredOptions as error:
        missing = ", ".join(one.dest for one in error.options)
        raise LoginRefused(f"it lacks {missing}") from error
    except exceptions.OptionError as error:
        raise LoginRefused(f"it is not complete ({error})") from error
    except Exception as error:
        named = ", ".join(sorted(options.auth)) or "nothing"
        raise LoginRefused(f"it is not complete: of what {name} needs it names {named}") from error


def _loader(name: str) -> Any:
    """What makes a login of a type. Raises keystoneauth's NoMatchingPlugin."""
    from keystoneauth1 import loading  # noqa: PLC0415

    with _loading:
        own = _own_types().get(name)
        return loading.get_plugin_loader(name) if own is None else own.load()()


@functools.cache
def _own_types() -> Mapping[str, EntryPoint]:
    """The types that come with keystoneauth; to find others it goes through all that is installed."""
    found = distribution("keystoneauth1").entry_points
    return {one.name: one for one in found if one.group == "keystoneauth1.plugin"}


def _v3(auth: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    """The options of a generic type as those of v3, which has no default domain of its own."""
    filled = dict(auth)
    for old, new in (("tenant_name", "project_name"), ("tenant_id", "project_id")):
        if old in filled and not filled.get(new):
            filled[new] = filled[old]
    for kind, name in (("user", "username"), ("project", "project_name")):
        given = {f"{kind}_domain_id", f"{kind}_domain_name"} & {key for key in filled if filled[key]}
        if not given and f"{kind}_domain_id" in known:
            if filled.get("default_domain_name"):
                filled[f"{kind}_domain_name"] = filled["default_domain_name"]
            elif filled.get("default_domain_id") or filled.get("default_domain"):
                filled[f"{kind}_domain_id"] = filled.get("default_domain_id") or filled["default_domain"]
            elif filled.get(name):
                filled[f"{kind}_domain_id"] = "default"  # as the openstack command has it
    return filled


def _said(status: int) -> LoginError:
    if status in {401, 403}:
        return LoginRefused(f"its Keystone refuses the credential ({status})")
    if status in {400, 404, 405}:
        return LoginRefused(f"its Keystone answers {status}: is the auth_url right?")
    return CloudAway(f"its Keystone answers {status}")


def read_login(access: Any, *, catalog: bool = False) -> Login:
    """What a Keystone said, checked: ids and the token go into headers and paths. Raises LoginError."""
    token = access.auth_token or ""
    if not _TOKEN.fullmatch(token):
        raise CloudAway("its Keystone gave a token that is none")
    if not access.project_id:
        raise LoginRefused("it is not of a project: name one with project_name or project_id")
    ids = (access.project_id, access.user_id, access.user_domain_id or "default")
    if not all(isinstance(one, str) and _ID.fullmatch(one) for one in ids):
        raise CloudAway("its Keystone gave ids that are none")
    # Both times are of that Keystone: its clock need not be right.
    life = (access.expires - access.issued).total_seconds() if access.expires and access.issued else 0.0
    if life <= 0:
        raise CloudAway("its Keystone gave a token that has expired")
    return Login(
        token=token.encode(),
        life=life,
        project_id=ids[0],
        user_id=ids[1],
        domain_id=ids[2],
        roles=tuple(sorted(str(one)[:255] for one in access.role_names))[:100],
        rules=_rules(access),
        catalog=tuple(access.service_catalog.catalog) if catalog and access.has_service_catalog() else (),
    )


def _rules(access: Any) -> tuple[AccessRule, ...] | None:
    """The access rules of an application credential. Raises CloudAway for what are none."""
    said = getattr(access, "application_credential_access_rules", None)
    if said is None:
        return None
    try:
        return msgspec.convert(said, tuple[AccessRule, ...])
    except msgspec.ValidationError as error:
        raise CloudAway("its Keystone gave access rules that are none") from error
