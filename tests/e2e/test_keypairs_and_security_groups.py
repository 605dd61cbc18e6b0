"""What a user makes before the first server: a keypair, a security group with a rule."""

from tests.e2e.conftest import KEY


def test_a_keypair_is_made_listed_once_and_deleted(cli, name, tmp_path):
    public = tmp_path / "key.pub"
    public.write_text(KEY)
    cli("keypair", "create", "--public-key", str(public), name)
    try:
        rows = [row for row in cli("keypair", "list") if row["Name"] == name]
        assert len(rows) == 1
        assert cli("keypair", "show", name)["fingerprint"] == rows[0]["Fingerprint"]
    finally:
        cli.run("keypair", "delete", name)
    assert cli.run("keypair", "show", name, succeeds=False).returncode == 1


def test_a_security_group_and_its_rule_are_made_listed_once_and_deleted(cli, name):
    made = cli("security", "group", "create", name)
    try:
        rule = cli("security", "group", "rule", "create", "--protocol", "tcp", "--dst-port", "22", name)
        assert [row["ID"] for row in cli("security", "group", "list") if row["Name"] == name] == [made["id"]]
        assert rule["id"] in {row["ID"] for row in cli("security", "group", "rule", "list", name)}
    finally:
        cli.run("security", "group", "delete", made["id"])
    assert cli.run("security", "group", "show", made["id"], succeeds=False).returncode == 1
