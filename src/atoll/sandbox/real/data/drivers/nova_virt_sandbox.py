"""Installed as nova/virt/sandbox.py: compute_driver = sandbox.SandboxDriver.

nova's fake driver with (1) room for many servers, (2) a snapshot that
uploads a small image so that createImage reaches 'active' (the stock fake
driver leaves the image 'queued'), (3) guests re-read from the database when
nova-compute restarts (the stock one forgets them), (4) a longer console log
(the stock one has 3 lines) and a host uptime (not implemented there), (5) the
node uuid kept in state_path/compute_id: with the stock fake drivers (but for
FakeDriverWithoutFakeNodes) nova-compute refuses to start a second time, "No
local node identity found".
"""

import io

from nova.compute import power_state
from nova.compute import task_states
from nova.compute import vm_states
from nova import context as nova_context
from nova.image import glance
from nova import objects
from nova.virt import fake
from nova.virt import node

from atoll_sandbox_drivers import images


class SandboxDriver(fake.SameHostColdMigrateDriver):
    capabilities = dict(fake.SameHostColdMigrateDriver.capabilities, supports_bfv_rescue=True)
    vcpus = 1000
    memory_mb = 8000000
    local_gb = 600000

    def init_host(self, host):
        super().init_host(host)
        ctxt = nova_context.get_admin_context()
        for inst in objects.InstanceList.get_by_host(ctxt, host):
            if inst.vm_state in (vm_states.BUILDING, vm_states.ERROR, vm_states.SHELVED_OFFLOADED):
                continue
            state = power_state.SHUTDOWN if inst.vm_state == vm_states.STOPPED else power_state.RUNNING
            self.resources.claim(vcpus=inst.flavor.vcpus, mem=inst.flavor.memory_mb, disk=inst.flavor.root_gb)
            self.instances[inst.uuid] = fake.FakeInstance(inst.name, state, inst.uuid)

    def get_available_resource(self, nodename):
        resources = super().get_available_resource(nodename)
        resources["uuid"] = node.get_local_node_uuid()
        return resources

    def get_nodenames_by_uuid(self, refresh=False):
        return {node.get_local_node_uuid(): self.get_available_nodes()[0]}

    def get_host_uptime(self):
        return " 12:00:00 up 1 day,  1:00,  1 user,  load average: 0.00, 0.00, 0.00"

    def get_console_output(self, context, instance):
        return "".join(f"[    0.{i:06d}] sandbox {instance.uuid} line {i}\n" for i in range(60))

    def snapshot(self, context, instance, image_id, update_task_state):
        super().snapshot(
            context,
            instance,
            image_id,
            lambda task_state, **kw: update_task_state(task_state=task_states.IMAGE_PENDING_UPLOAD),
        )
        update_task_state(
            task_state=task_states.IMAGE_UPLOADING, expected_state=task_states.IMAGE_PENDING_UPLOAD
        )
        meta = instance.image_meta
        fmt = "qcow2" if meta.disk_format == "qcow2" else "raw"
        glance.API().update(
            context,
            image_id,
            {"disk_format": fmt, "container_format": "bare"},
            io.BytesIO(images.image_data(fmt)),
        )
