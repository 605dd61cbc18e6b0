"""What is kept of clouds and of the credentials for them. Secrets are in here only sealed."""

import hashlib
from collections.abc import Iterable
from typing import ClassVar, Literal

import msgspec

from atoll.core.settings import Config
from atoll.sites.certificates import Certificates
from atoll.store import Document, Registry

Trust = Literal["credentials", "federated"]


class CloudRecord(Document, frozen=True, kw_only=True):
    """A Keystone that does not know the clients. `auth_url` ends with its version.

    `declared` says that it is in the configuration, where nothing can change it; only such ones have a `cert`
    to show, with `secret_key` (paths).
    """

    kind: ClassVar[str] = "cloud"
    name: str
    auth_url: str
    trust: Trust = "credentials"
    verify: bool = True
    cacert: str = ""
    cert: str = ""
    secret_key: str = ""
    declared: bool = False

    @property
    def key(self) -> str:
        """Its name."""
        return self.name

    @property
    def certificates(self) -> Certificates:
        """How those of its Keystone and its endpoints are checked."""
        return Certificates(verify=self.verify, cacert=self.cacert, cert=self.cert, key=self.secret_key)


class CredentialRecord(Document, frozen=True, kw_only=True):
    """How a project logs in at a cloud; one for each (cloud, project) and one more as its administrator.

    `project_id` and `owner` are the clients' project and user, `site_*_id` what the cloud calls project, user
    and the user's domain. `roles` are those seen there; nothing is decided by them. `sealed` are the auth
    options, encrypted, under the key with the fingerprint `sealed_under`. `entry` names one of clouds.yaml in
    their place. Times are seconds since 1970.
    """

    kind: ClassVar[str] = "credential"
    id: str
    cloud: str
    project_id: str
    admin: bool = False
    admin_for_members: bool = False
    auth_type: str = ""
    sealed: str = ""
    sealed_under: str = ""
    entry: str = ""
    owner: str = ""
    site_project_id: str = ""
    site_user_id: str = ""
    site_domain_id: str = ""
    roles: tuple[str, ...] = ()
    checked_at: float | None = None
    fault: str = ""

    @property
    def key(self) -> str:
        """Its id."""
        return self.id

    @property
    def declared(self) -> bool:
        """Whether it is in the configuration, where nothing can change it."""
        return bool(self.entry)

    @property
    def warning(self) -> str:
        """What whoever gave it should know; "" where there is nothing."""
        if self.admin or not is_administrators(self.roles):
            return ""
        what = "an administrator's at the cloud (role admin), who sees and may change what is of all projects"
        if self.admin_for_members:
            return f"{what}: and so may every member of its project here (admin_for_members)"
        return (
            f"{what}: used for administrators of Atoll only. For members give one without that role, such as "
            "an application credential made there with --role member; or allow it with admin_for_members"
        )

    def __repr__(self) -> str:
        """Which one it is, without what is in it."""
        return f"<credential {self.id} of {self.project_id} at {self.cloud}>"


def declared_clouds(config: Config) -> dict[str, CloudRecord]:
    """The clouds of the configuration, by name."""
    return {
        name: CloudRecord(
            name=name,
            auth_url=one.auth_url,
            trust=one.trust,
            verify=one.verify,
            cacert=one.cacert,
            cert=one.cert,
            secret_key=one.key,
            declared=True,
        )
        for name, one in config.clouds.items()
    }


def declared_credentials(config: Config) -> dict[str, CredentialRecord]:
    """The credentials of the configuration, by id."""
    made = (
        CredentialRecord(
            id=credential_id(one.cloud, one.project_id, admin=one.admin),
            cloud=one.cloud,
            project_id=one.project_id,
            admin=one.admin,
            admin_for_members=one.admin_for_members,
            entry=one.clouds_yaml,
        )
        for one in config.credentials
    )
    return {one.id: one for one in made}


def certificates_of(config: Config, registry: Registry | None, cloud: str) -> Certificates:
    """How the certificates of a cloud's services are checked; "" is the clients' own."""
    if not cloud:
        return Certificates(verify=config.identity.verify, cacert=config.identity.cacert)
    if (declared := config.clouds.get(cloud)) is not None:
        return Certificates(
            verify=declared.verify, cacert=declared.cacert, cert=declared.cert, key=declared.key
        )
    found = registry.get(CloudRecord, cloud) if registry is not None else None
    return found.certificates if found is not None else Certificates()


def is_administrators(roles: Iterable[str]) -> bool:
    """Whether these roles at a cloud are an administrator's, by the policies that services come with."""
    return any(role.lower() == "admin" for role in roles)


def credential_id(cloud: str, project_id: str, *, admin: bool) -> str:
    """The one id that a credential for these can have."""
    text = msgspec.json.encode((cloud, project_id, admin))
    return hashlib.sha256(text).hexdigest()[:32]
