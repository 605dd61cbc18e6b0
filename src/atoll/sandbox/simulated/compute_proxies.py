"""What a simulated Nova passes on for old microversions (images, networks), and `extensions`."""

from typing import TYPE_CHECKING

from atoll.sandbox.simulated.instances import Json
from atoll.sandbox.simulated.network_kinds import KINDS
from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.server_view import links
from atoll.sandbox.simulated.service import Call, Fault

if TYPE_CHECKING:
    from atoll.sandbox.simulated.compute import Compute

_EXTENSIONS = [
    ("NMN", "Multinic", "Multiple network support."),
    ("OS-DCF", "DiskConfig", "Disk Management Extension."),
    ("OS-EXT-AZ", "ExtendedAvailabilityZone", "Extended Availability Zone support."),
    ("OS-EXT-IPS", "ExtendedIps", "Adds type parameter to the ip list."),
    ("OS-EXT-STS", "ExtendedStatus", "Extended Status support."),
    ("os-availability-zone", "AvailabilityZone", "1. Add availability_zone to the Create Server API."),
    ("os-keypairs", "Keypairs", "Keypair Support."),
    ("os-security-groups", "SecurityGroups", "Security group support."),
    ("os-server-groups", "ServerGroups", "Server group support."),
    ("os-volumes", "Volumes", "Volumes support."),
]


class Proxies:
    """The proxy APIs that microversion 2.36 took away."""

    def __init__(self, compute: "Compute") -> None:
        self.compute = compute

    def add_routes(self, compute: "Compute") -> None:
        """Register the routes."""
        compute.route("GET", "/extensions", self._list_extensions)
        compute.route("GET", "/extensions/{alias}", self._show_extension)
        compute.route("GET", "/images", lambda call: self._list_images(call, full=False), until=35)
        compute.route("GET", "/images/detail", lambda call: self._list_images(call, full=True), until=35)
        compute.route("GET", "/images/{id}", self._show_image, until=35)
        compute.route("GET", "/os-security-groups", self._list_groups, until=35)
        compute.route("POST", "/os-security-group-rules", self._make_rule, until=35)
        compute.route("DELETE", "/os-security-group-rules/{id}", self._drop_rule, until=35)
        compute.route("GET", "/os-networks", self._list_networks, until=35)

    def _extension(self, alias: str, name: str, description: str) -> Json:
        return {
            "alias": alias,
            "description": description,
            "links": [],
            "name": name,
            "namespace": "http://docs.openstack.org/compute/ext/fake_xml",
            "updated": "2014-12-03T00:00:00Z",
        }

    def _list_extensions(self, call: Call) -> Response:  # noqa: ARG002 - the same for all
        shown = [self._extension(alias, name, text) for alias, name, text in _EXTENSIONS]
        return self.compute.json({"extensions": shown})

    def _show_extension(self, call: Call) -> Response:
        for alias, name, text in _EXTENSIONS:
            if alias == call.params["alias"]:
                return self.compute.json({"extension": self._extension(alias, name, text)})
        raise Fault(404, "The resource could not be found.")

    def _image(self, call: Call, image: Json, *, full: bool) -> Json:
        alternate = f"{call.request.url_root}/image//images/{image['id']}"
        shown: Json = {"id": image["id"], "name": image["name"], "links": links(call, "images", image["id"])}
        shown["links"].append(
            {"rel": "alternate", "type": "application/vnd.openstack.image", "href": alternate}
        )
        if full:
            shown |= {
                "minRam": image["min_ram"],
                "minDisk": image["min_disk"],
                "metadata": {},
                "progress": 100,
            }
            shown |= {"created": image["created_at"], "updated": image["updated_at"]}
            shown |= {"status": image["status"].upper(), "OS-EXT-IMG-SIZE:size": image["size"]}
        return shown

    def _list_images(self, call: Call, *, full: bool) -> Response:
        images = self.compute.site.image.all_visible(call.who)
        return self.compute.json({"images": [self._image(call, image, full=full) for image in images]})

    def _show_image(self, call: Call) -> Response:
        image = self.compute.site.image.visible(call.who, call.params["id"])
        if image is None:
            raise Fault(404, "Image not found.")
        return self.compute.json({"image": self._image(call, image, full=True)})

    def _list_groups(self, call: Call) -> Response:
        network = self.compute.site.network
        groups = [network.nova_group(group) for group in network.groups_of(call.project_id)]
        return self.compute.json({"security_groups": groups})

    def _make_rule(self, call: Call) -> Response:
        given = (call.body or {}).get("security_group_rule") or {}
        network = self.compute.site.network
        group = network.security_group(call.who, given.get("parent_group_id") or "")
        if group is None:
            raise Fault(404, f"Security group {given.get('parent_group_id')} not found.")
        rule = network.records.create(
            call.who,
            KINDS["security-group-rules"],
            {"security_group_id": group["id"], "direction": "ingress", "protocol": given.get("ip_protocol"),
             "port_range_min": given.get("from_port"), "port_range_max": given.get("to_port"),
             "remote_ip_prefix": given.get("cidr")},
        )  # fmt: skip
        shown = next(one for one in network.nova_group(group)["rules"] if one["id"] == rule["id"])
        return self.compute.json({"security_group_rule": shown})

    def _drop_rule(self, call: Call) -> Response:
        rules = self.compute.site.network.records.of("security-group-rules")
        if rules.pop(call.params["id"], None) is None:
            raise Fault(404, f"Security group rule {call.params['id']} not found.")
        return Response(202)

    def _list_networks(self, call: Call) -> Response:
        empty = dict.fromkeys(
            ("cidr", "netmask", "gateway", "broadcast", "dns1", "dns2", "cidr_v6", "gateway_v6")
        )
        networks = self.compute.site.network.visible_networks(call.who)
        shown = [{"id": n["id"], **empty, "label": n["name"], "netmask_v6": None} for n in networks]
        return self.compute.json({"networks": shown})
