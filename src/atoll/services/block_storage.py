"""Cinder: every route with its kind and its least role.

`tests/unit/services` holds the lines against what an installed Cinder says of itself (`tools/cinder-routes`).
"""

from atoll.services.table import ANY, Ends, Kind, Others, Ref, Resource, Service, row

PLACED, SHARED, SUMMED, PER_SITE = Kind.PLACED, Kind.SHARED, Kind.SUMMED, Kind.PER_SITE

CREATED = (("created_at", "desc"),)
SHOWN = {"display_name": "name", "uuid": "id", "project_id": "os-vol-tenant-attr:tenant_id"}

NAMED = ("id", "name")
OF_TRANSFERS = ("id", "volume_id", "name", "links")

HINTS = "OS-SCH-HNT:scheduler_hints"

RESOURCES = (
    Resource(
        name="volume", plural="volumes", path="volumes", detail="volumes/detail",
        brief=("id", "name", "links"), sort=CREATED, shown=SHOWN, counted=True,
        zone="volume/availability_zone",
        refs=(Ref("volume/snapshot_id", "snapshot"), Ref("volume/source_volid", "volume"),
              Ref("volume/imageRef", "image"), Ref("volume/image_id", "image"),
              Ref("volume/backup_id", "backup"), Ref("volume/volume_type", "volume_type"),
              # Cinder takes the one for the other: both are groups.
              Ref("volume/group_id", "group"), Ref("volume/consistencygroup_id", "group"),
              Ref(f"{HINTS}/same_host", "volume"), Ref(f"{HINTS}/same_host/*", "volume"),
              Ref(f"{HINTS}/local_to_instance", "server")),
    ),
    Resource(name="snapshot", plural="snapshots", path="snapshots", detail="snapshots/detail",
             brief=("id", "name", "status", "size", "metadata", "description", "volume_id", "created_at",
                    "updated_at", "user_id", "consumes_quota", "group_snapshot_id"),
             sort=CREATED, shown=SHOWN, counted=True, refs=(Ref("snapshot/volume_id", "volume"),)),
    Resource(name="backup", plural="backups", path="backups", detail="backups/detail",
             brief=("id", "name", "links"), sort=CREATED, shown=SHOWN, zone="backup/availability_zone",
             counted=True, refs=(Ref("backup/volume_id", "volume"), Ref("backup/snapshot_id", "snapshot"))),
    # Cinder takes a limit it does not know for a filter that nothing matches.
    Resource(name="transfer", plural="transfers", path="os-volume-transfer", paged=False,
             detail="os-volume-transfer/detail", brief=OF_TRANSFERS, sort=(("created_at", "asc"),),
             refs=(Ref("transfer/volume_id", "volume"),)),
    Resource(name="volume_transfer", plural="transfers", path="volume-transfers", singular="transfer",
             kept_as="transfer", paged_since=(3, 59), detail="volume-transfers/detail", brief=OF_TRANSFERS,
             sort=CREATED, refs=(Ref("transfer/volume_id", "volume"),)),
    # They never have links.
    Resource(name="attachment", plural="attachments", path="attachments", detail="attachments/detail",
             ends=Ends.EMPTY,
             shown={"instance_uuid": "instance", "attach_status": "status"},
             unseen=frozenset({"created_at", "updated_at", "mountpoint", "attached_host", "attach_mode"}),
             refs=(Ref("attachment/volume_uuid", "volume"), Ref("attachment/instance_uuid", "server"))),
    # Cinder leaves out those that were consistency groups after it has cut the page.
    Resource(name="group", plural="groups", path="groups", detail="groups/detail", sort=CREATED,
             ends=Ends.EMPTY, brief=NAMED, links="group_links", zone="group/availability_zone",
             refs=(Ref("group/volume_types/*", "volume_type"), Ref("group/group_type", "group_type"))),
    Resource(name="group_snapshot", plural="group_snapshots", path="group_snapshots", sort=CREATED,
             detail="group_snapshots/detail", brief=NAMED, links="group_snapshot_links", paged_since=(3, 29),
             refs=(Ref("group_snapshot/group_id", "group"),)),
    Resource(name="consistencygroup", plural="consistencygroups", path="consistencygroups", sort=CREATED,
             detail="consistencygroups/detail", brief=NAMED, links="consistencygroup_links",
             zone="consistencygroup/availability_zone",
             refs=(Ref("consistencygroup/volume_types", "volume_type", separator=","),)),
    Resource(name="cgsnapshot", plural="cgsnapshots", path="cgsnapshots", sort=CREATED, by_offset=True,
             detail="cgsnapshots/detail", brief=NAMED,
             refs=(Ref("cgsnapshot/consistencygroup_id", "consistencygroup"),)),
    Resource(name="message", plural="messages", path="messages", sort=CREATED, paged_since=(3, 5)),
    Resource(name="volume_type", plural="volume_types", path="types", identity="name", sort=CREATED,
             id_form="any", links="volume_type_links"),
    Resource(name="group_type", plural="group_types", path="group_types", identity="name", id_form="any",
             links="group_type_links"),
    Resource(name="qos_spec", plural="qos_specs", path="qos-specs", singular="qos_specs", identity="name"),
    Resource(name="service", plural="services", path="os-services", id_form="any"),
    Resource(name="cluster", plural="clusters", path="clusters", id_form="any"),
    Resource(name="pool", plural="pools", path="scheduler-stats/get_pools", id_form="any"),
    Resource(name="host", plural="hosts", path="os-hosts", id_form="any"),
)  # fmt: skip

# Cinder hears these from administrators only, and takes them for not said from everybody else (or, from
# 3.31 on, refuses them with 400).
ALL_PROJECTS = {"all_tenants": Others.DROPPED}
VOLUME_QUERIES = ALL_PROJECTS | dict.fromkeys(("host", "cluster_name", "service_uuid"), Others.DROPPED)
PUBLIC = {"is_public": Others.DROPPED}
VOLUME_ACTIONS = dict.fromkeys(
    ("os-reset_status", "os-force_delete", "os-force_detach", "os-migrate_volume",
     "os-migrate_volume_completion", "os-unmanage", "os-extend_volume_completion"),
    "admin",
) | {"os-show_image_metadata": "reader"}  # fmt: skip
SNAPSHOT_ACTIONS = dict.fromkeys(("os-reset_status", "os-force_delete", "os-unmanage"), "admin")
BACKUP_ACTIONS = dict.fromkeys(("os-reset_status", "os-force_delete"), "admin")
GROUP_ACTIONS = {"reset_status": "admin"}
# Without a volume one is made; the answer names it.
RESTORED = (Ref("restore/volume_id", "volume"),)
MANAGED = (Ref("volume/host", "host"), Ref("volume/volume_type", "volume_type"))
TRANSFERRED = (Ref("transfer/volume_id", "volume"),)


def _members(group: str) -> tuple[Ref, ...]:
    """The volumes that come into a group."""
    return (Ref(f"{group}/add_volumes", "volume", separator=","),)


ROUTES = (
    row("volumes", "GET POST", PLACED, "volume", admin_queries=VOLUME_QUERIES),
    row("volumes/detail", "GET", PLACED, "volume", admin_queries=VOLUME_QUERIES),
    row("volumes/summary", "GET", SUMMED, "volume-summary", admin_queries=VOLUME_QUERIES),
    row("volumes/{id}", "GET PUT DELETE", PLACED, "volume", admin_queries={"force": Others.REFUSED}),
    row("volumes/{id}/action", "POST", PLACED, "volume", actions=VOLUME_ACTIONS,
        admin_fields=("os-volume_upload_image/visibility=public",),
        refs=(Ref("os-attach/instance_uuid", "server"), Ref("os-retype/new_type", "volume_type"),
              Ref("os-reimage/image_id", "image"), Ref("revert/snapshot_id", "snapshot")),
        makes=(Ref("os-volume_upload_image/image_id", "image"),)),
    row("volumes/{id}/**", ANY, PLACED, "volume"),  # metadata, encryption
    row("snapshots", "GET POST", PLACED, "snapshot", admin_queries=ALL_PROJECTS),
    row("snapshots/detail", "GET", PLACED, "snapshot", admin_queries=ALL_PROJECTS),
    row("snapshots/{id}", "GET PUT DELETE", PLACED, "snapshot"),
    row("snapshots/{id}/action", "POST", PLACED, "snapshot", actions=SNAPSHOT_ACTIONS),
    row("snapshots/{id}/**", ANY, PLACED, "snapshot"),  # metadata
    row("backups", "GET POST", PLACED, "backup", admin_queries=ALL_PROJECTS),
    row("backups/detail", "GET", PLACED, "backup", admin_queries=ALL_PROJECTS),
    row("backups/import_record", "POST", PLACED, "backup", role="admin"),
    row("backups/{id}", "GET PUT DELETE", PLACED, "backup"),
    row("backups/{id}/restore", "POST", PLACED, "backup", refs=RESTORED, makes=RESTORED),
    row("backups/{id}/action", "POST", PLACED, "backup", actions=BACKUP_ACTIONS),
    row("backups/{id}/export_record", "GET", PLACED, "backup", role="admin"),
    row("os-volume-transfer", "GET POST", PLACED, "transfer", admin_queries=ALL_PROJECTS),
    row("os-volume-transfer/detail", "GET", PLACED, "transfer", admin_queries=ALL_PROJECTS),
    row("os-volume-transfer/{id}", "GET DELETE", PLACED, "transfer"),
    row("os-volume-transfer/{id}/accept", "POST", PLACED, "transfer", makes=TRANSFERRED, blind=True),
    row("volume-transfers", "GET POST", PLACED, "volume_transfer", admin_queries=ALL_PROJECTS),
    row("volume-transfers/detail", "GET", PLACED, "volume_transfer", admin_queries=ALL_PROJECTS),
    row("volume-transfers/{id}", "GET DELETE", PLACED, "transfer"),
    row("volume-transfers/{id}/accept", "POST", PLACED, "transfer", makes=TRANSFERRED, blind=True),
    row("attachments", "GET:any POST", PLACED, "attachment", admin_queries=ALL_PROJECTS),
    row("attachments/detail", "GET", PLACED, "attachment", role="any", admin_queries=ALL_PROJECTS),
    row("attachments/{id}", "GET:any PUT DELETE", PLACED, "attachment"),
    row("attachments/{id}/action", "POST", PLACED, "attachment"),
    row("groups", "GET POST", PLACED, "group", admin_queries=ALL_PROJECTS),
    row("groups/detail", "GET", PLACED, "group", admin_queries=ALL_PROJECTS),
    row("groups/action", "POST", PLACED, "group", refs=(
        Ref("create-from-src/source_group_id", "group"),
        Ref("create-from-src/group_snapshot_id", "group_snapshot"))),
    row("groups/{id}", "GET PUT", PLACED, "group", refs=_members("group")),
    row("groups/{id}/action", "POST", PLACED, "group", actions=GROUP_ACTIONS),
    row("group_snapshots", "GET POST", PLACED, "group_snapshot", admin_queries=ALL_PROJECTS),
    row("group_snapshots/detail", "GET", PLACED, "group_snapshot", admin_queries=ALL_PROJECTS),
    row("group_snapshots/{id}", "GET DELETE", PLACED, "group_snapshot"),
    row("group_snapshots/{id}/action", "POST", PLACED, "group_snapshot", actions=GROUP_ACTIONS),
    row("consistencygroups", "GET POST", PLACED, "consistencygroup", admin_queries=ALL_PROJECTS),
    row("consistencygroups/detail", "GET", PLACED, "consistencygroup", admin_queries=ALL_PROJECTS),
    row("consistencygroups/create_from_src", "POST", PLACED, "consistencygroup", refs=(
        Ref("consistencygroup-from-src/source_cgid", "consistencygroup"),
        Ref("consistencygroup-from-src/cgsnapshot_id", "cgsnapshot"))),
    row("consistencygroups/{id}", "GET PUT", PLACED, "consistencygroup", refs=_members("consistencygroup")),
    row("consistencygroups/{id}/update", "PUT", PLACED, "consistencygroup",
        refs=_members("consistencygroup")),
    row("consistencygroups/{id}/delete", "POST", PLACED, "consistencygroup"),
    row("cgsnapshots", "GET POST", PLACED, "cgsnapshot", admin_queries=ALL_PROJECTS),
    row("cgsnapshots/detail", "GET", PLACED, "cgsnapshot", admin_queries=ALL_PROJECTS),
    row("cgsnapshots/{id}", "GET DELETE", PLACED, "cgsnapshot"),
    row("messages", "GET", PLACED, "message"),
    row("messages/{id}", "GET DELETE", PLACED, "message"),
    row("manageable_volumes", "GET", PER_SITE, role="admin", of_host="?host"),
    row("manageable_volumes", "POST", PLACED, "volume", role="admin", refs=MANAGED),
    row("manageable_volumes/detail", "GET", PER_SITE, role="admin", of_host="?host"),
    row("manageable_snapshots", "GET", PER_SITE, role="admin", of_host="?host"),
    row("manageable_snapshots", "POST", PLACED, "snapshot", role="admin"),
    row("manageable_snapshots/detail", "GET", PER_SITE, role="admin", of_host="?host"),
    row("os-volume-manage", "GET", PER_SITE, role="admin", of_host="?host"),
    row("os-volume-manage", "POST", PLACED, "volume", role="admin", refs=MANAGED),
    row("os-volume-manage/detail", "GET", PER_SITE, role="admin", of_host="?host"),
    row("os-snapshot-manage", "GET", PER_SITE, role="admin", of_host="?host"),
    row("os-snapshot-manage", "POST", PLACED, "snapshot", role="admin"),
    row("os-snapshot-manage/detail", "GET", PER_SITE, role="admin", of_host="?host"),
    # shared, by name
    row("types", "GET POST:admin", SHARED, "volume_type", admin_queries=PUBLIC),
    row("types/{id}", "GET PUT:admin DELETE:admin", SHARED, "volume_type"),
    row("types/{id}/extra_specs", "GET POST:admin", SHARED, "volume_type"),
    row("types/{id}/extra_specs/{id}", "GET PUT:admin DELETE:admin", SHARED, "volume_type"),
    # encryption, access, actions
    row("types/{id}/**", ANY, SHARED, "volume_type", role="admin"),
    row("group_types", "GET:any POST:admin", SHARED, "group_type", admin_queries=PUBLIC),
    row("group_types/{id}", "GET:any PUT:admin DELETE:admin", SHARED, "group_type"),
    row("group_types/{id}/**", ANY, SHARED, "group_type", role="admin"),  # group_specs
    row("qos-specs", "GET POST", SHARED, "qos_spec", role="admin"),
    row("qos-specs/{id}", "GET PUT DELETE", SHARED, "qos_spec", role="admin"),
    # keys, and what they are associated with: a GET that changes it
    row("qos-specs/{id}/**", ANY, SHARED, "qos_spec", role="admin"),
    row("default-types", "GET", Kind.SETTING, role="admin"),
    row("default-types/{id}", "GET PUT DELETE", Kind.SETTING, role="admin",
        refs=(Ref("default_type/volume_type", "volume_type"),)),
    # summed
    row("limits", "GET", SUMMED, "limits", role="any",
        admin_queries={"project_id": Others.DROPPED, "tenant_id": Others.DROPPED}),
    row("os-quota-sets/{id}", "GET PUT:admin DELETE:admin", SUMMED, "quota_set", of_project=True),
    row("os-quota-sets/{id}/defaults", "GET", SUMMED, "quota_set", of_project=True),
    row("os-quota-class-sets/{id}", "GET PUT", SUMMED, "quota_class_set", role="admin"),
    # per site
    row("os-services", "GET", PER_SITE, "service", role="admin"),
    row("os-services/{id}", "PUT", PER_SITE, "service", role="admin", of_host="host"),
    row("os-services/get-log", "PUT", PER_SITE, role="admin", at_all=True),
    row("os-services/set-log", "PUT", PER_SITE, role="admin", at_all=True),
    row("clusters", "GET", PER_SITE, "cluster", role="admin"),
    row("clusters/detail", "GET", PER_SITE, "cluster", role="admin"),
    row("clusters/{id}", "GET PUT", PER_SITE, "cluster", role="admin"),
    row("workers/cleanup", "POST", PER_SITE, role="admin"),
    row("os-hosts", "GET", PER_SITE, "host", role="admin"),
    row("os-hosts/{id}", "GET PUT", PER_SITE, "host", role="admin"),
    row("scheduler-stats/get_pools", "GET", PER_SITE, "pool", role="admin"),
    row("capabilities/{id}", "GET", PER_SITE, role="admin"),
    # the cloud's own
    row("os-availability-zone", "GET", Kind.ZONES, role="any"),
    row("extensions", "GET", Kind.ANY_SITE, role="any"),
    row("extensions/{id}", "GET", Kind.ANY_SITE, role="any"),
    row("resource_filters", "GET", Kind.ANY_SITE, role="any"),
)  # fmt: skip

BLOCK_STORAGE = Service(
    service_type="block-storage",
    aliases=("volumev3", "volume", "block-store"),
    versions=("v3",),
    suffix=b".json",
    resources=RESOURCES,
    rows=ROUTES,
    project_in_path="optional",
    microversion_header="volume",
    zone_keys=("availability_zone",),
)
