"""Which resource providers a body of placement's names."""

from typing import Any

import pytest

from atoll.gateway.allocations import providers

ONE, TWO = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
CONSUMER = "33333333-3333-4333-8333-333333333333"
SOME = {"resources": {"VCPU": 1}}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"allocations": [{"resource_provider": {"uuid": ONE}, **SOME}]}, [ONE]),  # before 1.12
        ({"allocations": {ONE: SOME, TWO: SOME}, "project_id": "p"}, [ONE, TWO]),
        ({"allocations": {}, "project_id": "p"}, []),
        ({CONSUMER: {"allocations": {ONE: SOME}, "project_id": "p"}}, [ONE]),  # POST of several consumers
        ({CONSUMER: {"allocations": {}, "project_id": "p"}}, []),
        (
            {
                "inventories": {ONE: {"inventories": {}}},
                "allocations": {CONSUMER: {"allocations": {TWO: SOME}}},
            },
            [ONE, TWO],
        ),
        ({"allocations": "none"}, []),
        ({}, []),
    ],
)
def test_providers_of_every_form_of_body(body: dict[str, Any], named: list[str]) -> None:
    assert sorted(providers(body)) == named
