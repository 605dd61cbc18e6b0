"""The tokens of a simulated Keystone and who they stand for."""

import base64
import secrets
from dataclasses import dataclass, field


@dataclass(slots=True)
class Token:
    """An issued token. Times are seconds since the epoch; `roles` are names."""

    id: str
    user_id: str
    user_name: str
    roles: frozenset[str]
    methods: list[str]
    issued_at: float
    expires_at: float
    project_id: str | None = None
    project_name: str | None = None
    domain_id: str | None = None
    audit_id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    revoked: bool = False
    application_credential_id: str | None = None
    system: bool = False
    trust_id: str = ""


def new_id() -> str:
    """An opaque token id that looks like a Fernet token (183 characters)."""
    return "gAAAAAB" + base64.urlsafe_b64encode(secrets.token_bytes(132)).decode().rstrip("=")
