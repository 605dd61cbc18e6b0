"""What is kept of clouds and of the credentials for them. Secrets are in here only sealed."""

import hashlib
from typing import ClassVar, Literal

import msgspec

from atoll.store import Document

Trust = Literal["credentials"]


class CloudRecord(Document, frozen=True, kw_only=True):
    """A Keystone that does not know the clients. `auth_url` ends with its version.

    `declared` says that it is in the configuration, where nothing can change it.
    """

    kind: ClassVar[str] = "cloud"
    name: str
    auth_url: str
    trust: Trust = "credentials"
    verify: bool = True
    cacert: str = ""
    declared: bool = False

    @property
    def key(self) -> str:
        """Its name."""
        return self.name


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

    def __repr__(self) -> str:
        """Which one it is, without what is in it."""
        return f"<credential {self.id} of {self.project_id} at {self.cloud}>"


def credential_id(cloud: str, project_id: str, *, admin: bool) -> str:
    """The one id that a credential for these can have."""
    text = msgspec.json.encode((cloud, project_id, admin))
    return hashlib.sha256(text).hexdigest()[:32]
