"""Accepted servers, which no site has: what filters of lists make of them."""

import pytest

from atoll.core.accepted_servers import Accepted, AskedFlavor, AskedServer, fits

ONE = Accepted(
    id="i", project_id="p", user_id="u", created_at=1_000.0, changed_at=2_000.0,
    asked=AskedServer(
        name="Web-1.example", flavor=AskedFlavor(id="42"), image="img", tags=("a", "b"),
        description="front end", availability_zone="z", key_name="k",
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("name", "web", True), ("name", "^web-1", True), ("name", "example$", True),
        ("name", "^example", False),
        ("name", "^web-1.example$", True), ("name", "^web-1$", False), ("name", "w.*1.*le", True),
        ("name", "1.*w", False), ("name", "(a+)+$", False), ("name", "^", True), ("name", "", True),
        ("name", "^web.*web", False),
        ("description", "front", True), ("tags", "a", True), ("tags", "a,b", True), ("tags", "a,c", False),
        ("tags-any", "a,c", True), ("not-tags", "a,c", True), ("not-tags", "a,b", False),
        ("not-tags-any", "a", False), ("not-tags-any", "c", True),
        ("flavor", "42", True), ("flavor", "4", False), ("image", "img", True), ("image", "", False),
        ("status", "BUILD", True), ("status", "ERROR", False), ("vm_state", "building", True),
        ("task_state", "scheduling", True), ("availability_zone", "z", True),
        ("availability_zone", "y", False),
        ("key_name", "k", True), ("user_id", "u", True), ("uuid", "i", True), ("uuid", "j", False),
        ("changes-since", "1970-01-01T00:30:00Z", True), ("changes-since", "1970-01-01T00:40:00", False),
        ("changes-before", "1970-01-01T00:40:00Z", True), ("changes-before", "1970-01-01T00:30:00Z", False),
        ("deleted", "True", False), ("deleted", "false", True), ("locked", "1", False), ("locked", "0", True),
        ("host", "h", False), ("ip", "10", False), ("root_device_name", "/dev/vda", False),
        ("no_filter_of_novas", "x", True),
    ],
)  # fmt: skip
def test_filters(name, value, shown):
    assert fits(ONE, [(name, value)]) is shown


def test_several_statuses_are_any_of_them():
    assert fits(ONE, [("status", "ERROR"), ("status", "build")])
    assert not fits(ONE, [("status", "BUILD"), ("name", "other")])
