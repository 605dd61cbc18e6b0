"""Networks with what hangs on them, somewhere or at a chosen site."""

import pytest


@pytest.fixture
def network(cloud, name, zone, undo):
    hints = {"availability_zone_hints": [zone]} if zone else {}
    made = cloud.network.create_network(name=name, **hints)
    undo(cloud.network.delete_network, made.id)
    return made


@pytest.fixture
def subnet(cloud, name, network):
    return cloud.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.77.0.0/24", name=name)


def test_the_command_creates_shows_lists_and_deletes(cli, name, zone, hint, home):
    made = cli("network", "create", *hint, name)
    try:
        home("network", f"/v2.0/networks/{made['id']}", zone)
        subnet = cli("subnet", "create", "--network", name, "--subnet-range", "10.78.0.0/24", name)
        shown = cli("network", "show", name)
        assert (shown["id"], shown["subnets"]) == (made["id"], [subnet["id"]])
        if zone:
            assert shown["availability_zone_hints"] == [zone]
        assert [row["ID"] for row in cli("network", "list", "--name", name)] == [made["id"]]
    finally:
        cli.run("network", "delete", made["id"])
    assert cli.run("network", "show", made["id"], succeeds=False).returncode == 1


def test_a_port_gets_an_address_a_router_and_a_floating_ip(cloud, name, zone, undo, network, subnet, home):
    site = home("network", f"/v2.0/networks/{network.id}", zone)
    router = cloud.network.create_router(
        name=name, external_gateway_info={"network_id": site.public_network_id}
    )
    undo(cloud.network.delete_router, router.id)
    cloud.network.add_interface_to_router(router, subnet=subnet.id)
    undo(remove_interface, cloud, router.id, subnet.id)
    port = cloud.network.create_port(network_id=network.id, name=name)
    undo(cloud.network.delete_port, port.id)
    assert port.fixed_ips[0]["subnet_id"] == subnet.id
    address = cloud.network.create_ip(
        floating_network_id=site.public_network_id, port_id=port.id, description=name
    )
    undo(cloud.network.delete_ip, address.id)
    found = cloud.network.get_ip(address.id)
    assert (found.port_id, found.router_id) == (port.id, router.id)
    assert [ip.id for ip in cloud.network.ips(description=name)] == [address.id]
    assert home("network", f"/v2.0/floatingips/{address.id}", zone) == site


def remove_interface(cloud, router, subnet):
    cloud.network.remove_interface_from_router(router, subnet=subnet)


def test_one_list_has_the_networks_of_every_request(cloud, name, network, subnet):
    assert [found.id for found in cloud.network.networks(name=name)] == [network.id]
    assert [found.id for found in cloud.network.subnets(network_id=network.id)] == [subnet.id]
    assert network.id in {found.id for found in cloud.network.networks(limit=1)}
    assert cloud.network.update_network(network, description="x").description == "x"
