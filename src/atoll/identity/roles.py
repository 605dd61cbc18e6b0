"""Roles, which are fixed, and who has them.

GET /roles[/{id}]   GET /role_assignments   GET PUT HEAD DELETE /projects/{id}/users/{id}/roles[/{id}]
"""

from collections.abc import Iterator
from typing import Any

from atoll.core.errors import BadRequest, NotFound
from atoll.identity.asked import Answer, Asked
from atoll.identity.directory import Directory, role_named
from atoll.identity.records import (
    DOMAIN_ID,
    DOMAIN_NAME,
    ROLE_IDS,
    Assignment,
    Project,
    User,
    effective,
)

DOMAIN = {"id": DOMAIN_ID, "name": DOMAIN_NAME}


class Roles:
    """Answers what is about roles and role assignments."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._registry = directory.registry

    async def list_(self, asked: Asked) -> Answer:
        """GET /roles."""
        asked.need_admin("identity:list_roles")
        return asked.listed("roles", [_shown(asked, name) for name in ROLE_IDS], ("name", "domain_id"))

    async def show(self, asked: Asked) -> Answer:
        """GET /roles/{id}."""
        asked.need_admin("identity:get_role")
        return Answer(body={"role": _shown(asked, role_named(asked.segments[1]))})

    async def list_granted(self, asked: Asked) -> Answer:
        """GET /projects/{id}/users/{id}/roles: what was assigned, without what it implies."""
        asked.need_admin("identity:list_grants")
        project_id, user_id = asked.segments[1], asked.segments[3]
        self._directory.project(project_id)
        self._directory.user(user_id)
        mine = {
            one.role
            for one in self._registry.all(Assignment).values()
            if (one.project_id, one.user_id) == (project_id, user_id)
        }
        return asked.listed("roles", [_shown(asked, name) for name in ROLE_IDS if name in mine])

    async def check_grant(self, asked: Asked) -> Answer:
        """GET and HEAD /projects/{id}/users/{id}/roles/{id}. Raises NotFound where it was not assigned."""
        asked.need_admin("identity:check_grant")
        one = _assignment(asked)
        if self._registry.get(Assignment, one.key) is None:
            raise NotFound(
                f"Could not find role assignment with role: {asked.segments[5]}, user or group: "
                f"{one.user_id}, project, domain, or system: {one.project_id}."
            )
        return Answer(status=204)

    async def grant(self, asked: Asked) -> Answer:
        """PUT /projects/{id}/users/{id}/roles/{id}."""
        asked.need_admin("identity:create_grant")
        one = _assignment(asked)
        await self._directory.assign(one.user_id, one.project_id, one.role)
        return Answer(status=204)

    async def revoke(self, asked: Asked) -> Answer:
        """DELETE /projects/{id}/users/{id}/roles/{id}."""
        asked.need_admin("identity:revoke_grant")
        one = _assignment(asked)
        await self._directory.unassign(one.user_id, one.project_id, one.role)
        return Answer(status=204)

    async def list_assignments(self, asked: Asked) -> Answer:
        """GET /role_assignments, by `user.id`, `role.id`, `scope.project.id`; `effective` has the implied."""
        asked.need_admin("identity:list_role_assignments")
        if asked.one("user.id") and asked.one("group.id"):
            raise BadRequest("Specify a user or group, not both")
        if asked.one("scope.domain.id") and asked.one("scope.project.id"):
            raise BadRequest("Specify a domain or project, not both")
        wanted = {name: asked.one(name) for name in ("user.id", "scope.project.id", "role.id")}
        elsewhere = ("group.id", "scope.domain.id", "scope.system", "scope.OS-INHERIT:inherited_to")
        found = []
        if not any(asked.one(name) for name in elsewhere):  # there are none of those
            found = [
                one
                for one in self._assignments(effective_too=asked.on("effective"))
                if wanted["user.id"] in {None, one[0].user_id}
                and wanted["scope.project.id"] in {None, one[0].project_id}
                and wanted["role.id"] in {None, ROLE_IDS[one[0].role]}
            ]
        named = asked.on("include_names")
        return asked.listed(
            "role_assignments", [self._described(asked, one, of, named=named) for one, of in found]
        )

    def _assignments(self, *, effective_too: bool) -> Iterator[tuple[Assignment, str]]:
        """Each assignment and the role that it comes from."""
        seen = set()
        for one in self._registry.all(Assignment).values():
            for role in sorted(effective([one.role])) if effective_too else [one.role]:
                implied = Assignment(user_id=one.user_id, project_id=one.project_id, role=role)
                if implied.key not in seen:
                    seen.add(implied.key)
                    yield implied, one.role

    def _described(self, asked: Asked, one: Assignment, of: str, *, named: bool) -> dict[str, Any]:
        user: dict[str, Any] = {"id": one.user_id}
        project: dict[str, Any] = {"id": one.project_id}
        role: dict[str, Any] = {"id": ROLE_IDS[one.role]}
        if named:
            user |= {"name": self._name(User, one.user_id), "domain": DOMAIN}
            project |= {"name": self._name(Project, one.project_id), "domain": DOMAIN}
            role["name"] = one.role
        links = {
            "assignment": asked.link("projects", one.project_id, "users", one.user_id, "roles", ROLE_IDS[of])
        }
        if of != one.role:
            links["prior_role"] = asked.link("roles", ROLE_IDS[of], "implies", ROLE_IDS[one.role])
        return {"scope": {"project": project}, "user": user, "role": role, "links": links}

    def _name(self, type_: type[User] | type[Project], ident: str) -> str:
        found = self._registry.get(type_, ident)
        return found.name if found is not None else ""


def _assignment(asked: Asked) -> Assignment:
    """What a path names. Raises NotFound for no role of ours."""
    _, project_id, _, user_id, _, role_id = asked.segments
    return Assignment(user_id=user_id, project_id=project_id, role=role_named(role_id))


def _shown(asked: Asked, name: str) -> dict[str, Any]:
    role: dict[str, Any] = {
        "id": ROLE_IDS[name],
        "name": name,
        "domain_id": None,
        "description": None,
        "options": {},
    }
    return asked.shown("roles", role)
