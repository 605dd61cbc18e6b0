"""Nova: every route with its kind and its least role.

`tests/unit/services` holds the lines against what an installed Nova says of itself (`tools/nova-routes`).
"""

import re

from atoll.services.table import ANY, Ends, Kind, Others, Ref, Resource, Service, row

PLACED, SHARED, SUMMED, PER_SITE = Kind.PLACED, Kind.SHARED, Kind.SUMMED, Kind.PER_SITE

BDM = "server/block_device_mapping_v2/*/uuid"
BDM_V1 = "server/block_device_mapping/*/"
SERVER_REFS = (
    Ref("server/flavorRef", "flavor"),
    Ref("server/imageRef", "image"),
    Ref("server/key_name", "keypair"),
    Ref("server/networks/*/uuid", "network"),
    Ref("server/networks/*/port", "port"),
    Ref(BDM, "image", only_if=("source_type", "image")),
    Ref(BDM, "volume", only_if=("source_type", "volume")),
    Ref(BDM, "snapshot", only_if=("source_type", "snapshot")),
    Ref("server/block_device_mapping_v2/*/volume_type", "volume_type"),
    Ref(BDM_V1 + "volume_id", "volume"),
    Ref(BDM_V1 + "snapshot_id", "snapshot"),
    Ref("server/security_groups/*/name", "security_group"),
    # Not different_host: what is at another site is on a different host.
    *(
        Ref(f"{hints}/{place}", resource)
        for hints in ("os:scheduler_hints", "OS-SCH-HNT:scheduler_hints")
        for name, resource in (("group", "server_group"), ("same_host", "server"))
        for place in (name, f"{name}/*")
    ),
)
ATTACH_REFS = (Ref("volumeAttachment/volumeId", "volume"),)
INTERFACE_REFS = (
    Ref("interfaceAttachment/net_id", "network"),
    Ref("interfaceAttachment/port_id", "port"),
)
ACTION_REFS = (
    Ref("rebuild/imageRef", "image"),
    Ref("rebuild/key_name", "keypair"),
    Ref("resize/flavorRef", "flavor"),
    Ref("rescue/rescue_image_ref", "image"),
    Ref("addSecurityGroup/name", "security_group"),
    Ref("removeSecurityGroup/name", "security_group"),
    Ref("addFixedIp/networkId", "network"),
    Ref("addFloatingIp/address", "floatingip"),
)
# createImage and createBackup, from 2.45 on; before, a Location names it.
ACTION_MAKES = (Ref("image_id", "image"),)
PORT_MADE = (Ref("interfaceAttachment/port_id", "port"),)

ACTION_ROLES = {
    "migrate": "manager", "os-migrateLive": "manager",
    "evacuate": "admin", "injectNetworkInfo": "admin", "os-resetState": "admin", "shelveOffload": "admin",
    "os-getRDPConsole": "any", "resetNetwork": "any",  # gone: 404 or 410 to everyone
}  # fmt: skip
ACTION_FIELDS = ("migrate/host", "os-migrateLive/host", "unshelve/host")
# A zone `zone:host:node` is one too: what of it names a host is decided where zones are read.
CREATE_FIELDS = ("server/host", "server/hypervisor_hostname")
SERVER_QUERIES = {
    "all_tenants": Others.REFUSED, "status=deleted": Others.REFUSED,
    "sort_key=host": Others.REFUSED, "sort_key=node": Others.REFUSED,
    **dict.fromkeys(
        ("host", "node", "project_id", "tenant_id", "deleted", "soft_deleted", "uuid", "image_ref",
         "launch_index", "locked_by", "root_device_name", "kernel_id", "ramdisk_id", "access_ip_v4",
         "access_ip_v6", "auto_disk_config", "display_description", "block_device_mapping", "info_cache",
         "metadata", "pci_devices", "security_groups", "services", "system_metadata",
         "display_name", "description"),
        Others.DROPPED,
    ),
}  # fmt: skip
OWN_USER = {"user_id": Others.OWN}
PUBLIC = {"is_public": Others.DROPPED}
ALL_PROJECTS = {"all_projects": Others.DROPPED}

RESOURCES = (
    Resource(
        name="server", plural="servers", path="servers", detail="servers/detail",
        brief=("id", "name", "links"), sort=(("created_at", "desc"),),
        shown={
            "created_at": "created", "updated_at": "updated", "display_name": "name", "uuid": "id",
            "image_ref": "image", "project_id": "tenant_id", "vm_state": "OS-EXT-STS:vm_state",
            "task_state": "OS-EXT-STS:task_state", "power_state": "OS-EXT-STS:power_state",
            "availability_zone": "OS-EXT-AZ:availability_zone", "access_ip_v4": "accessIPv4",
            "access_ip_v6": "accessIPv6", "config_drive": "config_drive", "key_name": "key_name",
            "launched_at": "OS-SRV-USG:launched_at", "terminated_at": "OS-SRV-USG:terminated_at",
            "host": "OS-EXT-SRV-ATTR:host", "node": "OS-EXT-SRV-ATTR:hypervisor_hostname",
        },
        # what no answer has, or only administrators' or newer versions'
        unseen=frozenset({"instance_type_id", "root_device_name", "created_at_id", "auto_disk_config",
                          "display_description", "image_ref", "hostname", "kernel_id", "launch_index",
                          "locked_by", "ramdisk_id"}),
        refs=SERVER_REFS, zone="server/availability_zone", ends=Ends.NEARLY,
    ),
    Resource(name="server_group", plural="server_groups", path="os-server-groups", by_offset=True),
    Resource(name="security_group", plural="security_groups", path="os-security-groups"),
    Resource(name="security_group_rule", plural="security_group_rules", path="os-security-group-rules",
             refs=(Ref("security_group_rule/parent_group_id", "security_group"),
                   Ref("security_group_rule/group_id", "security_group"))),
    Resource(name="floatingip", plural="floating_ips", path="os-floating-ips", singular="floating_ip",
             refs=(Ref("pool", "network"),), paged=False),
    Resource(name="network", plural="networks", path="os-tenant-networks", paged=False),
    Resource(name="volume", plural="volumes", path="os-volumes", detail="os-volumes/detail",
             zone="volume/availability_zone",
             refs=(Ref("volume/snapshot_id", "snapshot"), Ref("volume/volume_type", "volume_type"))),
    Resource(name="snapshot", plural="snapshots", path="os-snapshots",
             refs=(Ref("snapshot/volume_id", "volume"),)),
    Resource(name="flavor", plural="flavors", path="flavors", id_form="any", detail="flavors/detail",
             sort=(("flavorid", "asc"),), shown={"flavorid": "id", "memory_mb": "ram", "root_gb": "disk"}),
    Resource(name="image", plural="images", path="images", detail="images/detail"),
    Resource(name="keypair", plural="keypairs", path="os-keypairs", id_form="any", identity="keypair/name",
             sort=(("name", "asc"),), shown={"name": "keypair/name"}, paged_since=(2, 35)),
    # Nova leaves out those whose hosts are gone after it has cut the page.
    Resource(name="hypervisor", plural="hypervisors", path="os-hypervisors", id_form="any",
             paged_since=(2, 33), ends=Ends.EMPTY),
    Resource(name="service", plural="services", path="os-services", id_form="any"),
    Resource(name="aggregate", plural="aggregates", path="os-aggregates", id_form="any",
             zone="aggregate/availability_zone"),
    Resource(name="migration", plural="migrations", path="os-migrations", id_form="any",
             marker="uuid", sort=(("created_at", "desc"),), paged_since=(2, 59), ends=Ends.EMPTY),
    Resource(name="host", plural="hosts", path="os-hosts", id_form="any"),
    Resource(name="assisted_volume_snapshot", plural="snapshots", path="os-assisted-volume-snapshots",
             singular="snapshot"),
)  # fmt: skip

ROUTES = (
    row("servers", "GET POST", PLACED, "server", admin_queries=SERVER_QUERIES, admin_fields=CREATE_FIELDS),
    row("servers/detail", "GET", PLACED, "server", admin_queries=SERVER_QUERIES),
    row("servers/{id}", "GET PUT DELETE", PLACED, "server", zones=("server/pinned_availability_zone",)),
    row("servers/{id}/action", "POST", PLACED, "server", refs=ACTION_REFS, makes=ACTION_MAKES,
        zones=("unshelve/availability_zone",), actions=ACTION_ROLES,
        admin_fields=ACTION_FIELDS),
    row("servers/{id}/diagnostics", "GET", PLACED, "server", role="admin"),
    row("servers/{id}/os-volume_attachments", "GET POST", PLACED, "server", refs=ATTACH_REFS),
    row("servers/{id}/os-volume_attachments/{id}", "GET PUT DELETE", PLACED, "server", refs=ATTACH_REFS),
    row("servers/{id}/os-interface", "GET POST", PLACED, "server", refs=INTERFACE_REFS, makes=PORT_MADE),
    # interfaces, addresses, metadata, tags, shares, topology, password, consoles, instance actions, …
    row("servers/{id}/**", ANY, PLACED, "server"),
    row("os-server-groups", "GET POST", PLACED, "server_group", admin_queries=ALL_PROJECTS),
    row("os-server-groups/{id}", "GET DELETE", PLACED, "server_group"),
    # the same servers under their older name: closed by Nova from 2.103 on
    row("os-volumes_boot", "GET POST", PLACED, "server", admin_queries=SERVER_QUERIES,
        admin_fields=CREATE_FIELDS),
    row("os-volumes_boot/detail", "GET", PLACED, "server", admin_queries=SERVER_QUERIES),
    row("os-volumes_boot/{id}", "GET PUT DELETE", PLACED, "server"),
    row("os-volumes_boot/{id}/action", "POST", PLACED, "server", refs=ACTION_REFS, makes=ACTION_MAKES),
    # Nova's own views of Cinder, Neutron, Glance and Ironic: closed from 2.36 on, but for images/…/metadata
    row("os-security-groups", "GET POST", PLACED, "security_group"),
    row("os-security-groups/{id}", "GET PUT DELETE", PLACED, "security_group"),
    row("os-security-group-rules", "POST", Kind.GROUP_RULES, "security_group_rule"),
    row("os-security-group-rules/{id}", "DELETE", Kind.GROUP_RULES, "security_group_rule"),
    row("os-floating-ips", "GET POST", PLACED, "floatingip"),
    row("os-floating-ips/{id}", "GET DELETE", PLACED, "floatingip"),
    row("os-floating-ip-pools", "GET:any", Kind.EACH),
    row("os-networks", "GET", PLACED, "network"),
    row("os-networks/{id}", "GET", PLACED, "network"),
    row("os-tenant-networks", "GET", PLACED, "network"),
    row("os-tenant-networks/{id}", "GET", PLACED, "network"),
    row("os-volumes", "GET POST", PLACED, "volume"),
    row("os-volumes/detail", "GET", PLACED, "volume"),
    row("os-volumes/{id}", "GET DELETE", PLACED, "volume"),
    row("os-snapshots", "GET POST", PLACED, "snapshot"),
    row("os-snapshots/detail", "GET", PLACED, "snapshot"),
    row("os-snapshots/{id}", "GET DELETE", PLACED, "snapshot"),
    row("images", "GET", SHARED, "image", role="any"),  # Glance's policy, not Nova's
    row("images/detail", "GET", SHARED, "image", role="any"),
    row("images/{id}", "GET DELETE", SHARED, "image", role="any"),
    row("images/{id}/metadata", "GET POST PUT", SHARED, "image", role="any"),
    row("images/{id}/metadata/{id}", "GET PUT DELETE", SHARED, "image", role="any"),
    row("os-baremetal-nodes", "GET:admin POST:any", PER_SITE),
    row("os-baremetal-nodes/{id}", "GET:admin DELETE:any", PER_SITE),
    row("os-baremetal-nodes/{id}/action", "POST", PER_SITE, role="any"),
    # shared
    row("flavors", "GET:any POST:admin", SHARED, "flavor", admin_queries=PUBLIC),
    row("flavors/detail", "GET", SHARED, "flavor", role="any", admin_queries=PUBLIC),
    row("flavors/{id}", "GET:any PUT:admin DELETE:admin", SHARED, "flavor"),
    row("flavors/{id}/action", "POST", SHARED, "flavor", role="admin"),
    row("flavors/{id}/os-flavor-access", "GET", SHARED, "flavor", role="admin"),
    row("flavors/{id}/os-extra_specs", "GET POST:admin", SHARED, "flavor"),
    row("flavors/{id}/os-extra_specs/{id}", "GET PUT:admin DELETE:admin", SHARED, "flavor"),
    row("flavors/{id}/**", ANY, SHARED, "flavor", role="admin",
        beyond="what a later release adds to flavors is changed at every site, too"),
    row("os-keypairs", "GET POST", SHARED, "keypair", role="any", admin_queries=OWN_USER,
        admin_fields=("keypair/user_id",)),
    row("os-keypairs/{id}", "GET DELETE", SHARED, "keypair", role="any", admin_queries=OWN_USER),
    # summed
    row("limits", "GET", SUMMED, "limits", role="any", admin_queries={"tenant_id": Others.REFUSED}),
    row("os-quota-sets/{id}", "GET PUT:admin DELETE:admin", SUMMED, "quota_set", of_project=True),
    row("os-quota-sets/{id}/detail", "GET", SUMMED, "quota_set", of_project=True),
    row("os-quota-sets/{id}/defaults", "GET", SUMMED, "quota_set", role="any"),
    row("os-quota-class-sets/{id}", "GET PUT", SUMMED, "quota_class_set", role="admin"),
    row("os-simple-tenant-usage", "GET", SUMMED, "tenant_usages", role="admin"),
    row("os-simple-tenant-usage/{id}", "GET", SUMMED, "tenant_usage", of_project=True),
    row("os-hypervisors/statistics", "GET", SUMMED, "hypervisor_statistics", role="admin"),
    # per site
    row("os-hypervisors", "GET", PER_SITE, "hypervisor", role="admin"),
    row("os-hypervisors/detail", "GET", PER_SITE, "hypervisor", role="admin"),
    row("os-hypervisors/{id}", "GET", PER_SITE, "hypervisor", role="admin"),
    row("os-hypervisors/{id}/search", "GET", PER_SITE, "hypervisor", role="admin", listed=True),
    row("os-hypervisors/{id}/servers", "GET", PER_SITE, "hypervisor", role="admin", listed=True),
    row("os-hypervisors/{id}/uptime", "GET", PER_SITE, "hypervisor", role="admin"),
    row("os-services", "GET", PER_SITE, "service", role="admin"),
    row("os-services/{id}", "PUT DELETE", PER_SITE, "service", role="admin"),
    row("os-aggregates", "GET POST", PER_SITE, "aggregate", role="admin"),
    row("os-aggregates/{id}", "GET PUT DELETE", PER_SITE, "aggregate", role="admin",
        zones=("aggregate/availability_zone",)),
    row("os-aggregates/{id}/action", "POST", PER_SITE, "aggregate", role="admin",
        zones=("set_metadata/metadata/availability_zone",)),
    row("os-aggregates/{id}/images", "POST", PER_SITE, "aggregate", role="admin"),
    row("os-hosts", "GET", PER_SITE, "host", role="admin"),
    row("os-hosts/{id}", "GET PUT", PER_SITE, "host", role="admin"),
    row("os-hosts/{id}/**", "GET", PER_SITE, "host", role="admin"),
    row("os-migrations", "GET", PER_SITE, "migration", role="manager",
        admin_queries={"project_id": Others.NEEDED}),
    row("servers/{id}/migrations", "GET", PER_SITE, "migration", role="manager", below="server"),
    row("servers/{id}/migrations/{id}", "GET:admin DELETE:manager", PER_SITE, "migration", below="server"),
    row("servers/{id}/migrations/{id}/action", "POST", PER_SITE, "migration", role="manager",
        below="server"),
    row("os-instance_usage_audit_log", "GET", SUMMED, "instance_usage_audit_logs", role="admin"),
    row("os-instance_usage_audit_log/{id}", "GET", SUMMED, "instance_usage_audit_log", role="admin"),
    row("os-assisted-volume-snapshots", "POST", PLACED, "assisted_volume_snapshot", role="service",
        refs=(Ref("snapshot/volume_id", "volume"),)),
    row("os-assisted-volume-snapshots/{id}", "DELETE", PLACED, "assisted_volume_snapshot", role="service"),
    row("os-console-auth-tokens/{id}", "GET", PER_SITE, role="admin"),
    # the cloud's own
    row("os-availability-zone", "GET", Kind.ZONES, role="any"),
    row("os-availability-zone/detail", "GET", Kind.ZONES, role="admin"),
    row("os-server-external-events", "POST", Kind.EVENTS, "server", role="service"),
    row("extensions", "GET", Kind.ANY_SITE, role="any"),
    row("extensions/{id}", "GET", Kind.ANY_SITE, role="any"),
    row("versions/{id}", "GET", Kind.ANY_SITE, role="any"),
    # gone: every site answers 410 to everyone, whatever the path names
    row("servers/{id}/consoles", "GET POST", Kind.ANY_SITE, role="any"),
    row("servers/{id}/consoles/{id}", "GET DELETE", Kind.ANY_SITE, role="any"),
    row("servers/{id}/os-virtual-interfaces", "GET", Kind.ANY_SITE, role="any"),
    row("os-agents", "GET POST", Kind.ANY_SITE, role="any"),
    row("os-agents/{id}", "PUT DELETE", Kind.ANY_SITE, role="any"),
    row("os-cells", "GET POST", Kind.ANY_SITE, role="any"),
    row("os-cells/capacities", "GET", Kind.ANY_SITE, role="any"),
    row("os-cells/detail", "GET", Kind.ANY_SITE, role="any"),
    row("os-cells/info", "GET", Kind.ANY_SITE, role="any"),
    row("os-cells/sync_instances", "POST", Kind.ANY_SITE, role="any"),
    row("os-cells/{id}", "GET PUT DELETE", Kind.ANY_SITE, role="any"),
    row("os-cells/{id}/capacities", "GET", Kind.ANY_SITE, role="any"),
    row("os-certificates", "POST", Kind.ANY_SITE, role="any"),
    row("os-certificates/{id}", "GET", Kind.ANY_SITE, role="any"),
    row("os-cloudpipe", "GET POST", Kind.ANY_SITE, role="any"),
    row("os-cloudpipe/{id}", "PUT", Kind.ANY_SITE, role="any"),
    row("os-fixed-ips/{id}", "GET", Kind.ANY_SITE, role="any"),
    row("os-fixed-ips/{id}/action", "POST", Kind.ANY_SITE, role="any"),
    row("os-floating-ip-dns", "GET", Kind.ANY_SITE, role="any"),
    row("os-floating-ip-dns/{id}", "PUT DELETE", Kind.ANY_SITE, role="any"),
    row("os-floating-ip-dns/{id}/entries/{id}", "GET PUT DELETE", Kind.ANY_SITE, role="any"),
    row("os-floating-ips-bulk", "GET POST", Kind.ANY_SITE, role="any"),
    row("os-floating-ips-bulk/{id}", "GET PUT", Kind.ANY_SITE, role="any"),
    row("os-fping", "GET", Kind.ANY_SITE, role="any"),
    row("os-fping/{id}", "GET", Kind.ANY_SITE, role="any"),
    row("os-networks", "POST", Kind.ANY_SITE, role="any"),
    row("os-networks/add", "POST", Kind.ANY_SITE, role="any"),
    row("os-networks/{id}", "DELETE", Kind.ANY_SITE, role="any"),
    row("os-networks/{id}/action", "POST", Kind.ANY_SITE, role="any"),
    row("os-tenant-networks", "POST", Kind.ANY_SITE, role="any"),
    row("os-tenant-networks/{id}", "DELETE", Kind.ANY_SITE, role="any"),
    row("os-security-group-default-rules", "GET POST", Kind.ANY_SITE, role="any"),
    row("os-security-group-default-rules/{id}", "GET DELETE", Kind.ANY_SITE, role="any"),
)  # fmt: skip

COMPUTE = Service(
    service_type="compute",
    aliases=(),
    versions=("v2.1", "v2"),
    resources=RESOURCES,
    rows=ROUTES,
    project_in_path="optional",
    project_form=re.compile(rb"[0-9a-f\-]{32,36}\Z"),
    microversion_header="compute",
    zone_keys=("OS-EXT-AZ:availability_zone", "availability_zone", "pinned_availability_zone"),
)
