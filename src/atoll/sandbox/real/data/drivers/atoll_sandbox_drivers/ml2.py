"""ML2 mechanism driver that binds every port to its first segment, no agent.

The port goes ACTIVE as soon as it gets a binding:host_id (what nova sets).
What the L3 agent would report is set here too: router ports are ACTIVE and a
floating IP is ACTIVE when it has a port, DOWN when not.
"""

from neutron_lib.api.definitions import portbindings
from neutron_lib.callbacks import events
from neutron_lib.callbacks import registry
from neutron_lib.callbacks import resources
from neutron_lib import constants
from neutron_lib.plugins import directory
from neutron_lib.plugins.ml2 import api

ROUTER_OWNERS = (constants.DEVICE_OWNER_ROUTER_INTF, constants.DEVICE_OWNER_ROUTER_GW)


class SandboxMechanismDriver(api.MechanismDriver):
    vif_type = portbindings.VIF_TYPE_OVS
    vif_details = {portbindings.CAP_PORT_FILTER: True, portbindings.VIF_DETAILS_CONNECTIVITY: "l2"}

    def initialize(self):
        for event in (events.PRECOMMIT_CREATE, events.PRECOMMIT_UPDATE):
            registry.subscribe(self._floating_ip, resources.FLOATING_IP, event)

    @property
    def connectivity(self):
        return portbindings.CONNECTIVITY_L2

    def bind_port(self, context):
        for segment in context.segments_to_bind:
            context.set_binding(
                segment[api.ID], self.vif_type, dict(self.vif_details), status=constants.PORT_STATUS_ACTIVE
            )
            return

    def create_port_postcommit(self, context):
        self._router_port(context)

    def update_port_postcommit(self, context):
        self._router_port(context)

    @staticmethod
    def _router_port(context):
        port = context.current
        if port["device_owner"] in ROUTER_OWNERS and port["status"] == constants.PORT_STATUS_DOWN:
            directory.get_plugin().update_port_status(
                context.plugin_context, port["id"], constants.PORT_STATUS_ACTIVE
            )

    @staticmethod
    def _floating_ip(resource, event, trigger, payload):
        fip = payload.desired_state
        fip.status = (
            constants.FLOATINGIP_STATUS_ACTIVE if fip.fixed_port_id else constants.FLOATINGIP_STATUS_DOWN
        )
