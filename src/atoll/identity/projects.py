"""Projects and the one domain.

GET POST /projects   GET PATCH DELETE /projects/{id}   GET /users/{id}/projects   GET /domains[/{id}]
"""

from typing import Any

import msgspec

from atoll.core.errors import BadRequest, NotFound
from atoll.identity.asked import Answer, Asked
from atoll.identity.directory import Directory
from atoll.identity.records import DOMAIN_ID, DOMAIN_NAME, Project


class Given(msgspec.Struct):
    """What of a project can be set."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    description: str | msgspec.UnsetType | None = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET
    tags: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    domain_id: str | None = DOMAIN_ID
    parent_id: str | None = DOMAIN_ID
    is_domain: bool = False
    id: Any = None
    links: Any = None
    options: Any = None

    def fields(self, extra: dict[str, Any]) -> dict[str, Any]:
        """What is to be kept. Raises BadRequest, NotFound for another domain or a parent."""
        if self.is_domain:
            raise BadRequest("A project that acts as a domain is not known here: there is one domain.")
        in_domain(self.domain_id)
        if self.parent_id not in {None, DOMAIN_ID}:
            raise BadRequest("Projects below projects are not known here.")
        kept: dict[str, Any] = {
            "name": self.name,
            "description": "" if self.description is None else self.description,
            "enabled": self.enabled,
            "tags": self.tags,
        }
        kept = {key: value for key, value in kept.items() if value is not msgspec.UNSET}
        return {**kept, "extra": extra} if extra else kept


def in_domain(ident: str | None) -> None:
    """Refuse any domain but the one there is. Raises NotFound."""
    if ident not in {None, DOMAIN_ID}:
        raise NotFound(f"Could not find domain: {ident}.")


def show_project(asked: Asked, project: Project) -> dict[str, Any]:
    """A project as Keystone shows it."""
    return asked.shown(
        "projects",
        {
            **project.extra,
            "id": project.id,
            "name": project.name,
            "domain_id": DOMAIN_ID,
            "description": project.description,
            "enabled": project.enabled,
            "parent_id": DOMAIN_ID,
            "is_domain": False,
            "tags": list(project.tags),
            "options": {},
        },
    )


class Projects:
    """Answers what is about projects and domains."""

    FILTERS = ("name", "enabled", "domain_id", "parent_id", "is_domain")

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def list_(self, asked: Asked) -> Answer:
        """GET /projects."""
        asked.need_admin("identity:list_projects")
        every = self._directory.registry.all(Project).values()
        return asked.listed("projects", [show_project(asked, one) for one in every], self.FILTERS)

    async def list_of_user(self, asked: Asked) -> Answer:
        """GET /users/{id}/projects."""
        ident = asked.segments[1]
        asked.need_admin("identity:list_user_projects", unless=ident == asked.caller.user.id)
        mine = self._directory.projects_of(self._directory.user(ident).id)
        return asked.listed("projects", [show_project(asked, one) for one in mine], self.FILTERS)

    async def show(self, asked: Asked) -> Answer:
        """GET /projects/{id}."""
        ident = asked.segments[1]
        own = asked.caller.project is not None and asked.caller.project.id == ident
        asked.need_admin("identity:get_project", unless=own)
        return Answer(body={"project": show_project(asked, self._directory.project(ident))})

    async def create(self, asked: Asked) -> Answer:
        """POST /projects."""
        asked.need_admin("identity:create_project")
        given, extra = asked.read_one("project", Given)
        fields = given.fields(extra)
        if "name" not in fields:
            raise BadRequest("'name' is a required property")
        project = await self._directory.create_project(**fields)
        return Answer(status=201, body={"project": show_project(asked, project)})

    async def update(self, asked: Asked) -> Answer:
        """PATCH /projects/{id}."""
        asked.need_admin("identity:update_project")
        before = self._directory.project(asked.segments[1])
        given, extra = asked.read_one("project", Given)
        fields = given.fields({**before.extra, **extra})
        project = await self._directory.update_project(before.id, **fields)
        return Answer(body={"project": show_project(asked, project)})

    async def delete(self, asked: Asked) -> Answer:
        """DELETE /projects/{id}."""
        asked.need_admin("identity:delete_project")
        await self._directory.remove_project(asked.segments[1])
        return Answer(status=204)

    async def list_domains(self, asked: Asked) -> Answer:
        """GET /domains."""
        asked.need_admin("identity:list_domains")
        return asked.listed("domains", [_domain(asked)], ("name", "enabled"))

    async def show_domain(self, asked: Asked) -> Answer:
        """GET /domains/{id}."""
        asked.need_admin("identity:get_domain", unless=asked.caller.project is not None)
        in_domain(asked.segments[1])
        return Answer(body={"domain": _domain(asked)})


def _domain(asked: Asked) -> dict[str, Any]:
    domain = {
        "id": DOMAIN_ID,
        "name": DOMAIN_NAME,
        "description": "The default domain",
        "enabled": True,
        "tags": [],
        "options": {},
    }
    return asked.shown("domains", domain)
