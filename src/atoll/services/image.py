"""Glance: every route with its kind and its least role.

`tests/unit/services` holds the lines against what an installed Glance says of itself (`tools/glance-routes`).
"""

from atoll.services.table import ANY, READ_BY_ALL, Kind, Resource, Service, row

SHARED, EACH = Kind.SHARED, Kind.EACH

CREATED = (("created_at", "desc"),)

RESOURCES = (
    Resource(name="image", plural="images", path="images", id_form="any",
             sort=(("created_at", "desc"), ("id", "desc"))),
    Resource(name="task", plural="tasks", path="tasks", sort=(("created_at", "desc"), ("id", "desc"))),
    Resource(name="namespace", plural="namespaces", path="metadefs/namespaces", id_form="any",
             identity="namespace", marker="namespace", sort=CREATED),
)  # fmt: skip

PUBLIC = ("visibility=public",)

ROUTES = (
    row("images", "GET POST", SHARED, "image", admin_fields=PUBLIC),
    row("images/{id}", "GET PATCH DELETE", SHARED, "image", admin_fields=PUBLIC),
    row("images/{id}/file", "GET PUT", SHARED, "image", role="member", raw=True),
    row("images/{id}/stage", "PUT", SHARED, "image", raw=True),
    row("images/{id}/import", "POST", SHARED, "image", admin_fields=("method/name=copy-image",)),
    row("images/{id}/locations", "GET:service POST", SHARED, "image"),
    row("images/{id}/**", ANY, SHARED, "image"),  # members, tags, tasks, actions
    row("stores/{id}/{id}", "DELETE", EACH, role="admin"),
    row("tasks", "GET POST", Kind.PLACED, "task", role="admin"),
    row("tasks/{id}", "GET DELETE", Kind.PLACED, "task", role="admin"),
    row("schemas/**", "GET", Kind.ANY_SITE, role="any"),
    row("metadefs/namespaces", "GET POST:admin", SHARED, "namespace"),
    row("metadefs/namespaces/{id}", "GET PUT:admin DELETE:admin", SHARED, "namespace"),
    # objects, properties, tags, types of resources
    row("metadefs/namespaces/{id}/**", READ_BY_ALL, SHARED, "namespace"),
    row("metadefs/resource_types", "GET", Kind.ANY_SITE),
    row("info/import", "GET", EACH, role="any"),
    row("info/stores", "GET", EACH, role="any"),
    row("info/stores/detail", "GET", EACH, role="service"),
    row("info/usage", "GET", Kind.SUMMED, "usage", role="any"),
    row("cache", "GET DELETE", EACH, role="admin"),
    row("cache/clean", "POST", EACH, role="admin"),
    row("cache/prune", "POST", EACH, role="admin"),
    row("cache/nodes/{id}", "GET", EACH, role="admin"),
    row("cache/{id}", "PUT DELETE", EACH, role="admin"),
    row("cached_images", "GET DELETE", EACH, role="admin"),
    row("cached_images/{id}", "DELETE", EACH, role="admin"),
    row("queued_images", "GET DELETE", EACH, role="admin"),
    row("queued_images/{id}", "PUT DELETE", EACH, role="admin"),
)  # fmt: skip

IMAGE = Service(
    service_type="image",
    aliases=(),
    versions=("v2",),
    resources=RESOURCES,
    rows=ROUTES,
)
