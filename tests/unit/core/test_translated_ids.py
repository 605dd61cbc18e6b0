"""Ids of projects and users, and names of keypairs, between clients and a site that knows others."""

import json
import string

from hypothesis import given
from hypothesis import strategies as st

from atoll.core.key_names import KeyNames
from atoll.core.rewrite import Ids, Others

OURS, THEIRS = "a" * 32, "b" * 32
USER, THEIR_USER = "c" * 32, "d" * 32
IDS = Ids({OURS: THEIRS, USER: THEIR_USER})
KEYS = Ids({OURS: THEIRS, USER: THEIR_USER}, KeyNames(USER))

names = st.text(string.ascii_letters + string.digits + "_-. ", min_size=1, max_size=40)


def test_a_path_and_its_query():
    asked = f"/v3/{OURS}/volumes?project_id={OURS}&name=x{OURS}&user_id={USER}".encode()
    assert (
        IDS.target(asked)
        == f"/v3/{THEIRS}/volumes?project_id={THEIRS}&name=x{OURS}&user_id={THEIR_USER}".encode()
    )
    assert IDS.target(b"/v2.1/servers") == b"/v2.1/servers"


def test_a_body_is_changed_where_it_names_an_owner_and_nowhere_else():
    body = {"network": {"tenant_id": OURS, "name": OURS, "project_id": "x"}, "metadata": {"note": OURS}}
    assert json.loads(IDS.inward(json.dumps(body).encode())) == {
        "network": {"tenant_id": THEIRS, "name": OURS, "project_id": "x"},
        "metadata": {"note": OURS},
    }


def test_an_answer_says_the_clients_ids_in_fields_lists_and_links():
    said = {
        "server": {
            "tenant_id": THEIRS,
            "user_id": THEIR_USER,
            "links": [{"href": f"http://s/v3/{THEIRS}/x"}],
        },
        "projects": [THEIRS],
        "next": f"http://s/v3/x?project_id={THEIRS}&limit=1",
    }
    assert json.loads(IDS.outward(json.dumps(said).encode())) == json.loads(
        json.dumps(said).replace(THEIRS, OURS).replace(THEIR_USER, USER)
    )


def test_many_projects_are_told_apart():
    many = Ids({f"{number:032x}": f"{number + 100:032x}" for number in range(50)})
    text = json.dumps([f"{number + 100:032x}" for number in range(50)] + ["f" * 32]).encode()
    assert json.loads(many.outward(text)) == [f"{number:032x}" for number in range(50)] + ["f" * 32]


def test_short_ids_are_words_and_stay():
    assert (
        Ids({"default": "other-domain"}).outward(b'{"name": "other-domain"}') == b'{"name": "other-domain"}'
    )
    assert Ids({"default": "other-domain"}).inward(b'{"name": "default"}') == b'{"name": "default"}'


@given(names)
def test_a_keypair_has_its_name_back(name):
    made = KEYS.inward(json.dumps({"keypair": {"name": name, "type": "ssh"}}).encode())
    assert json.loads(made)["keypair"]["name"] == f"{USER}-{name}"
    assert json.loads(KEYS.outward(made)) == {"keypair": {"name": name, "type": "ssh"}}


def test_of_a_list_only_the_users_own_keypairs_are_shown():
    said = {"keypairs": [{"keypair": {"name": f"{user}-k", "fingerprint": "x"}} for user in (USER, "e" * 32)]}
    assert json.loads(KEYS.outward(json.dumps(said).encode())) == {
        "keypairs": [{"keypair": {"name": "k", "fingerprint": "x"}}]
    }


def test_a_server_names_its_key_as_whoever_made_it_did():
    said = {"server": {"key_name": f"{'e' * 32}-k", "metadata": {"key_name": None}}}
    assert json.loads(KEYS.outward(json.dumps(said).encode()))["server"]["key_name"] == "k"
    asked = b'{"server": {"key_name": "k", "metadata": {"key_name": "k"}}}'
    assert json.loads(KEYS.inward(asked))["server"] == {
        "key_name": f"{USER}-k", "metadata": {"key_name": "k"}
    }  # fmt: skip


def test_paths_and_filters_of_keypairs():
    assert KEYS.target(b"/v2.1/os-keypairs/a%20b") == f"/v2.1/os-keypairs/{USER}-a%20b".encode()
    assert KEYS.target(b"/v2.1/os-keypairs?limit=5&marker=a") == f"/v2.1/os-keypairs?marker={USER}-a".encode()
    assert KEYS.target(b"/v2.1/servers?key_name=k") == f"/v2.1/servers?key_name={USER}-k".encode()
    assert KEYS.target(b"/v2.1/os-keypairs") == b"/v2.1/os-keypairs"


def test_whom_something_is_shared_with_is_translated_where_that_may_stand():
    other, there = "e" * 32, "f" * 32
    ids = Ids({OURS: THEIRS}, others=Others({OURS: THEIRS, other: there}))
    for ours, theirs in (
        (f"/v2.0/rbac-policies?target_tenant={other}", f"/v2.0/rbac-policies?target_tenant={there}"),
        (f"/v2/images/1/members/{other}", f"/v2/images/1/members/{there}"),
    ):
        assert ids.target(ours.encode()) == theirs.encode()
    policy = '{"rbac_policy": {"target_tenant": "%s", "tenant_id": "%s"}}'
    assert ids.inward((policy % (other, OURS)).encode()) == (policy % (there, THEIRS)).encode()
    assert ids.outward((policy % (there, THEIRS)).encode()) == (policy % (other, OURS)).encode()


def test_an_administrators_path_has_the_project_of_the_credential_and_any_other_further_on():
    token, other, there = "1" * 32, "e" * 32, "f" * 32
    ids = Ids({OURS: THEIRS, other: there}, scope=(OURS, token))
    assert ids.target(f"/v3/{OURS}/os-quota-sets/{OURS}".encode()) == (
        f"/v3/{token}/os-quota-sets/{THEIRS}".encode()
    )
    assert ids.target(f"/v3/{OURS}/os-quota-sets/{other}?a={OURS}".encode()) == (
        f"/v3/{token}/os-quota-sets/{there}?a={THEIRS}".encode()
    )
    assert ids.outward(f'"http://x/v3/{token}/volumes/1" "{THEIRS}"'.encode()) == (
        f'"http://x/v3/{OURS}/volumes/1" "{OURS}"'.encode()
    )
