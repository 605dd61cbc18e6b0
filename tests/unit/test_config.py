"""Every fault of a configuration is named with its place; what is not said has its default."""

import msgspec
import pytest

from atoll.core.config import Config, ConfigError, file_references, load
from atoll.core.config_reference import reference

MINIMAL = """
[identity]
auth_url = "http://127.0.0.1:5000/v3/"
[sites.paris]
region = "RegionOne"
[sites.paris.endpoints]
compute = "http://127.0.0.1:8001/v2.1/"
[sites.tokyo]
region = "RegionTwo"
[sites.tokyo.endpoints]
compute = "http://127.0.0.1:8002/v2.1"
"""

KINDS = ["network", "subnet", "volume_type", "image", "flavor", "security_group"]
TWICE = "is the endpoint of site paris too: everything there would be listed twice"
ENV = {"HOME": "/home/operator"}


def read(text: str | bytes, env: dict[str, str] | None = None) -> Config:
    return load(text, source="atoll.toml", env=ENV if env is None else env)


def faults(text: str | bytes, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, env)
    assert str(caught.value).startswith("atoll.toml: ")
    return [str(fault) for fault in caught.value.faults]


def test_what_is_not_said_has_its_default():
    config = read(MINIMAL)
    assert config.gateway.public_url == "http://127.0.0.1:8774"
    assert config.identity.auth_url == "http://127.0.0.1:5000/v3"
    assert config.store.url == "sqlite:////home/operator/.local/state/atoll/atoll.db"
    assert config.placement.default_site == "paris"
    assert [(site.name, site.number) for site in config.sites.values()] == [("paris", 0), ("tokyo", 1)]
    assert config.sites["paris"].endpoints == {"compute": "http://127.0.0.1:8001/v2.1"}
    assert config.zone_sites() == {"paris": "paris", "tokyo": "tokyo"}
    assert config.limits.deadline_seconds == 60
    assert file_references(config) == []


def test_everything_can_be_said():
    config = read(
        MINIMAL
        + """
[gateway]
listen = ["10.0.0.1:443", "[::1]:443"]
public_url = "https://cloud.example.org/"
region = "Ring"
workers = 4
partial = "strict"
access_log = "none"
log_format = "json"
drain_seconds = 5
admin_roles = ["admin", "operator"]
tls = {cert_file = "cert.pem", key_file = "key.pem"}
[store]
url = "env:DB"
[placement]
default_site = "tokyo"
[zones.left]
site = "paris"
zone = "nova"
[zones.right]
site = "paris"
zone = "ssd"
[[equivalents]]
resource = "network"
name = "public"
ids = {paris = "1", tokyo = "2"}
""",
        {"DB": "postgresql://atoll:sesame@db/atoll"},
    )
    assert config.gateway.public_url == "https://cloud.example.org"
    assert config.store.url == "postgresql://atoll:sesame@db/atoll"
    assert "sesame" not in repr(config)
    assert config.zone_sites() == {"left": "paris", "right": "paris", "tokyo": "tokyo"}
    assert config.equivalents[0].ids == {"paris": "1", "tokyo": "2"}
    assert [(file.path, file.secret) for file in file_references(config)] == [
        ("cert.pem", False),
        ("key.pem", True),
    ]


def test_it_cannot_be_changed():
    config = read(MINIMAL)
    with pytest.raises(AttributeError):
        config.gateway.region = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        config.sites["x"] = config.sites["paris"]  # type: ignore[index]


def test_numbers_and_state_directories():
    config = read(MINIMAL.replace('"RegionTwo"', '"RegionTwo"\nnumber = 7'), {"XDG_STATE_HOME": "/state"})
    assert config.sites["tokyo"].number == 7
    assert config.store.url == "sqlite:////state/atoll/atoll.db"


def test_no_toml_is_told_with_line_and_column():
    assert faults("[gateway]\nlisten 1") == [
        "line 2, column 8: is no TOML: Expected '=' after a key in a key/value pair"
    ]
    assert faults(b"[gateway]\n\xff") == ["line 2: is not UTF-8 text"]


def test_all_faults_are_told_at_once():
    assert faults("""
gatway = 1
[gateway]
listen = 8774
worker = 3
workers = 0
partial = "never"
tls = {cert_file = "x"}
[identity]
auth_url = "http://127.0.0.1:5000"
[sites.paris]
region = "RegionOne"
hue = "blue"
[sites.paris.endpoints]
compute = "http://x/v2.1"
[sites.tokyo]
region = "RegionTwo"
endpoints = {nova = "http://y/v2.1", compute = "ftp://y/v2.1", image = "http://a:b@y", network = "http://y?x"}
[zones.z]
site = "london"
[placement]
default_site = "paris"
together = "much"
[[equivalents]]
resource = "server"
name = "x"
ids = {tokyo = 1}
""") == [
        "gateway.worker: is not known: did you mean workers?",
        "gateway.listen: expected a list, not 8774",
        "gateway.workers: expected a whole number >= 1, not 0",
        "gateway.partial: expected allow or strict, not 'never'",
        "gateway.tls.key_file: is missing",
        "placement.together: expected a number, not 'much'",
        "sites.paris.hue: is not known: there are region, number, state, endpoints, cloud, backup_store",
        f"equivalents[0].resource: expected {' or '.join(KINDS)}, not 'server'",
        "equivalents[0].ids: expected text (in [...]), not {'tokyo': 1}",
        "gatway: is not known: did you mean gateway?",
        "identity.auth_url: has no version: did you mean http://127.0.0.1:5000/v3?",
        "sites.tokyo.endpoints.nova: is not known: did you mean compute?",
        "sites.tokyo.endpoints.compute: is not an http or https URL: 'ftp://y/v2.1'",
        "sites.tokyo.endpoints.image: has a user or password in it, which does not belong there",
        "sites.tokyo.endpoints.network: has a query or fragment: give the part up to the version only",
        "zones.z.site: there is no site london: there are paris, tokyo",
    ]


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ('[gateway]\nlisten = "8774"', "gateway.listen: 8774 is not address:port, such as 127.0.0.1:8774"),
        (
            '[gateway]\nlisten = "::1:80"',
            "gateway.listen: ::1:80 is not address:port, such as 127.0.0.1:8774",
        ),
        (
            '[gateway]\nlisten = "1.2.3.4:99999"',
            "gateway.listen: 1.2.3.4:99999 is not address:port, such as 127.0.0.1:8774",
        ),
        ("[gateway]\nlisten = []", "gateway.listen: is empty: nobody could reach Atoll"),
        ('[gateway]\nlisten = ["127.0.0.1:1", "127.0.0.1:1"]', "gateway.listen: has an address twice"),
        (
            '[gateway]\nlisten = "0.0.0.0:80"',
            "gateway.public_url: is needed, since clients cannot connect to 0.0.0.0:80",
        ),
        (
            '[gateway]\nlisten = "10.0.0.1:80"\npublic_url = "http://127.0.0.1:80"',
            "gateway.public_url: is a loopback address, but Atoll listens at 10.0.0.1:80 only",
        ),
        (
            '[gateway]\npublic_url = "http://x"\ntls = {cert_file = "c", key_file = "k"}',
            "gateway.public_url: is http, but with gateway.tls Atoll serves https only",
        ),
        ('[gateway]\npublic_url = "cloud"', "gateway.public_url: is not an http or https URL: 'cloud'"),
        (
            '[placement]\ndefault_site = "rome"',
            "placement.default_site: there is no site rome: there are paris, tokyo",
        ),
        (
            '[store]\nurl = "oracle://x:sesame@y"',
            "store.url: is not a database URL of sqlite, postgresql, mysql: write sqlite:///PATH",
        ),
        ('[store]\nurl = "env:NOWHERE"', "store.url: the environment variable NOWHERE is not set"),
        (
            '[zones.a]\nsite = "paris"\n[zones.b]\nsite = "paris"',
            "zones.b: is the same as zones.a: a zone has one name",
        ),
        (
            '[zones.tokyo]\nsite = "paris"',
            "zones.tokyo: is in paris, but is the name of a site that has no other zone: give that one too",
        ),
        (
            '[zones."a:b"]\nsite = "paris"',
            "zones.\"a:b\": is not a zone name: 1 to 255 characters without ':'",
        ),
        (
            '[sites.rome]\nregion = "R"\nnumber = 1\nendpoints = {image = "http://r"}',
            "sites.rome.number: is 1, as that of tokyo: give each its own",
        ),
        (
            '[sites.rome]\nregion = "R"\nendpoints = {compute = "http://127.0.0.1:8001/v2.1"}',
            f"sites.rome.endpoints.compute: {TWICE}",
        ),
        (
            '[sites.rome]\nregion = "R"\nendpoints = {}',
            "sites.rome.endpoints: is empty: name at least one, such as compute",
        ),
        (
            '[sites."a@b"]\nregion = "R"\nendpoints = {image = "http://r"}',
            "sites.\"a@b\": is not a name of letters, digits, '.', '_' and '-' (at most 63)",
        ),
        (
            '[[equivalents]]\nresource = "network"\nname = "n"\nids = {paris = "1", rome = "2"}',
            "equivalents[0].ids.rome: there is no site rome: there are paris, tokyo",
        ),
        (
            '[[equivalents]]\nresource = "network"\nname = "n"\nids = {paris = "1"}',
            "equivalents[0].ids: names fewer than two sites: there is nothing to be the same",
        ),
        (
            """
            [[equivalents]]
            resource = "network"
            name = "n"
            ids = {paris = "1", tokyo = "2"}
            [[equivalents]]
            resource = "network"
            name = "m"
            ids = {paris = "3", tokyo = "2"}
            """,
            "equivalents[1].ids.tokyo: 2 is n already",
        ),
        ('[runs]\nwebhooks = ["ftp://x"]', "runs.webhooks: 'ftp://x' is not an http or https URL."),
        ('[runs]\nwebhooks = ["http://x", "http://x"]', "runs.webhooks: has a URL twice"),
        ('[runs]\nwebhook_secret = "hush"', "runs.webhook_secret: is not to stand here: write env:NAME"),
        (
            '[runs]\ntransport_url = "rabbit://u:hush@h/"',
            "runs.transport_url: is not to stand here: write env:NAME or file:PATH",
        ),
        (
            '[runs]\ntransport_url = "env:NOT_SET"',
            "runs.transport_url: the environment variable NOT_SET is not set",
        ),
        ('[runs]\ntransport_url = "env:HOME"', "runs.transport_url: is not a URL of rabbit://"),
        (
            '[runs]\ncoordination_url = "env:HOME"',
            "runs.coordination_url: is not a URL of etcd3+http://, etcd3+https://, redis://, zookeeper://",
        ),
        ('[audit]\nwebhook = "x"', "audit.webhook: 'x' is not an http or https URL."),
        (
            '[audit]\nwebhook_secret = "env:NOT_SET"',
            "audit.webhook_secret: the environment variable NOT_SET is not set",
        ),
    ],
)
def test_a_fault_between_tables_is_told(more, fault):
    assert faults(MINIMAL + more) == [fault]


def test_no_site_and_no_home_are_told():
    assert faults("", {}) == [
        "identity.auth_url: is missing",
        "sites: is missing: name at least one site, as [sites.NAME]",
        "store.url: is needed, since neither XDG_STATE_HOME nor HOME is set",
    ]


BUILT_IN = """
[identity]
mode = "built-in"
[clouds.paris]
auth_url = "https://paris/v3"
[sites.paris]
region = "paris"
cloud = "paris"
endpoints = {compute = "https://paris/compute/v2.1"}
"""


def test_the_built_in_identity_needs_no_keystone():
    config = load(BUILT_IN, source="test", env=ENV)
    assert (config.identity.mode, config.identity.auth_url) == ("built-in", "")
    assert config.identity.token_seconds == 3600


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (('mode = "built-in"', 'mode = "built-in"\nauth_url = "http://k/v3"'),
         "identity.auth_url: has no meaning with the built-in identity"),
        (('cloud = "paris"\n', ""),
         "sites.paris.cloud: is needed: no site believes the tokens of the built-in identity"),
        (("[identity]", '[gateway]\nlisten = "10.0.0.1:80"\n[identity]'),
         "gateway.listen: 10.0.0.1 is not a loopback address: the built-in identity needs gateway.tls"),
        (('mode = "built-in"', 'mode = "shared"'),
         "identity.mode: expected keystone or built-in, not 'shared'"),
    ],
)  # fmt: skip
def test_what_the_built_in_identity_does_not_go_with(change, fault):
    assert fault in faults(BUILT_IN.replace(*change))


def test_with_tls_the_built_in_identity_may_be_reached():
    tls = '[gateway]\nlisten = "10.0.0.1:443"\n[gateway.tls]\ncert_file = "c"\nkey_file = "k"\n'
    assert load(tls + BUILT_IN, source="test", env=ENV).gateway.public_url == "https://10.0.0.1:443"


@pytest.mark.parametrize(
    "text", ["sites = 1", "[[sites]]", "equivalents = 1", "gateway = 1", "zones = []", "sites.a = 1"]
)
def test_tables_that_are_none_are_told(text):
    place = text.strip("[]").split(" ", maxsplit=1)[0]
    assert any(fault.startswith(f"{place}: is a") for fault in faults(text))


def test_the_reference_has_every_setting_with_its_text():
    options = {option.path: option for option in reference()}
    assert options["gateway.listen"].default == '["127.0.0.1:8774"]'
    assert options["gateway.workers"].type == "whole number (at least 1, at most 256)"
    assert options["sites.NAME.endpoints"].default == "required"
    assert "sites.NAME.endpoints" in options
    assert "gateway.tls.key_file" in options
    assert all(option.doc.endswith(".") for option in options.values())
    assert all(
        msgspec.json.decode(option.default) is not None
        for option in options.values()
        if option.default not in ("", "required")
    )


def test_a_zone_may_have_another_name_in_each_service():
    text = MINIMAL + '[zones.z]\nsite = "paris"\nzone = {compute = "az1", block-storage = "nova"}\n'
    zone = read(text).zones["z"]
    assert [zone.at(service) for service in ("compute", "block-storage", "network")] == ["az1", "nova", None]


def test_a_zone_of_a_service_that_has_none_is_a_fault():
    text = MINIMAL + '[zones.z]\nsite = "paris"\nzone = {compute = "az1", image = "nova"}\n'
    assert faults(text) == ["zones.z.zone: image has no zones: block-storage, compute, network have"]


CLOUDS = """
[sites.osaka]
region = "West"
cloud = "tokyo"
endpoints = {compute = "http://127.0.0.1:8003/v2.1"}
[clouds.tokyo]
auth_url = "https://tokyo.example:5000/v3/"
[secrets]
key = "file:/etc/atoll/key"
[[credentials]]
cloud = "tokyo"
project_id = "p"
clouds_yaml = "mine"
"""


def test_clouds_keys_and_credentials_are_read():
    config = read(MINIMAL + CLOUDS)
    assert (config.sites["osaka"].cloud, config.sites["paris"].cloud) == ("tokyo", "")
    assert config.clouds["tokyo"].auth_url == "https://tokyo.example:5000/v3"
    assert config.secrets.key == ("file:/etc/atoll/key",)
    assert [(one.cloud, one.clouds_yaml, one.admin) for one in config.credentials] == [
        ("tokyo", "mine", False)
    ]


@pytest.mark.parametrize(
    ("was", "now", "fault"),
    [
        ('cloud = "tokyo"\nend', 'cloud = "tokio"\nend', "sites.osaka.cloud: there is no cloud tokio"),
        (
            '[[credentials]]\ncloud = "tokyo"',
            '[[credentials]]\ncloud = "x"',
            "credentials[0].cloud: there is no",
        ),
        ("5000/v3/", "5000/", "clouds.tokyo.auth_url: has no version"),
        ("https://tokyo.example", "ftp://tokyo.example", "clouds.tokyo.auth_url: is not an http"),
        ('"file:/etc/atoll/key"', '"c2VjcmV0"', "secrets.key: a key is given as file:PATH or env:NAME"),
        ('"file:/etc/atoll/key"', '"env:NOT_SET"', "secrets.key: the environment variable NOT_SET"),
        (
            'clouds_yaml = "mine"',
            'clouds_yaml = "mine"\npassword = "x"',
            "credentials[0].password: is not known",
        ),
    ],
)
def test_what_cannot_be_of_clouds_and_credentials(was, now, fault):
    assert was in CLOUDS
    found = faults(MINIMAL + CLOUDS.replace(was, now))
    assert [one[: len(fault)] for one in found] == [fault]
    assert "c2VjcmV0" not in str(found)


FEDERATED = """
[sites.osaka]
region = "West"
cloud = "tokyo"
endpoints = {compute = "http://127.0.0.1:8003/v2.1"}
[clouds.tokyo]
auth_url = "https://tokyo.example:5000/v3/"
trust = "federated"
service_provider = "sp"
sp_url = "https://tokyo.example:5001/Shibboleth.sso/SAML2/ECP"
projects = {"1" = "2"}
"""


def test_a_federated_cloud_is_read():
    cloud = read(MINIMAL + FEDERATED).clouds["tokyo"]
    assert (cloud.trust, cloud.service_provider, cloud.projects) == ("federated", "sp", {"1": "2"})


@pytest.mark.parametrize(
    ("was", "now", "fault"),
    [
        ('trust = "federated"\n', "", "clouds.tokyo.service_provider: needs trust"),
        ('service_provider = "sp"\n', "", "clouds.tokyo.service_provider: is missing"),
        ("https://tokyo.example:5001", "tokyo.example", "clouds.tokyo.sp_url: is not"),
        ('trust = "federated"', 'trust = "shared"', "clouds.tokyo.trust: "),
        (
            "[clouds",
            '[[credentials]]\ncloud = "tokyo"\nproject_id = "p"\nclouds_yaml = "mine"\n[clouds',
            "credentials[0].cloud: tokyo is federated",
        ),
    ],
)
def test_what_a_federated_cloud_does_not_go_with(was, now, fault):
    assert was in FEDERATED
    found = faults(MINIMAL + FEDERATED.replace(was, now))
    assert found[0][: len(fault)] == fault


def test_a_federated_cloud_needs_a_keystone_of_the_clients_and_another_one():
    built_in = FEDERATED + '[identity]\nmode = "built-in"\n'
    text = MINIMAL[: MINIMAL.index("[identity]")] + MINIMAL[MINIMAL.index("[sites") :] + built_in
    assert any(one.startswith("clouds.tokyo.trust: is federated, which needs") for one in faults(text))
    theirs = read(MINIMAL).identity.auth_url
    same = faults(MINIMAL + FEDERATED.replace("https://tokyo.example:5000/v3/", theirs + "/"))
    assert any("is the clients' own Keystone" in one for one in same)


def test_a_project_has_one_credential_at_a_cloud_and_one_more_as_its_administrator():
    again = CLOUDS[CLOUDS.index("[[cred") :]
    assert read(MINIMAL + CLOUDS + again + "admin = true\n")
    assert faults(MINIMAL + CLOUDS + again) == ["credentials[1]: is a second one of the project p at tokyo"]
