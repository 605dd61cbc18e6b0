"""A caller's token made one of another Keystone, by keystoneauth over the wire: what is believed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.certificates import Authority

from atoll.sandbox.simulated import Fault, Keystone
from atoll.sandbox.simulated.federation import Federation
from atoll.sites.certificates import Certificates
from atoll.trust.exchange import CallerRefused, NothingThere, Terms, exchange
from atoll.trust.login import CloudAway, Login, LoginError, LoginRefused


@dataclass
class Pair:
    link: Federation
    token: str

    def terms(self, **more: Any) -> Terms:
        there = {"identity_url": self.link.idp.auth_url, "auth_url": self.link.sp.auth_url}
        return Terms(**{**there, "service_provider": "tokyo", **more})

    async def exchanged(self, **more: Any) -> Login:
        return await asyncio.to_thread(exchange, self.terms(**more), self.token)

    def sent(self) -> list[str]:
        return [
            seen.target.partition("?")[0].removeprefix("/identity")
            for keystone in (self.link.idp, self.link.sp)
            for seen in keystone.listener.seen
        ]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    idp, sp = Keystone("top"), Keystone("tokyo")
    await idp.start()
    await sp.start()
    try:
        yield Pair(Federation(idp, sp, "tokyo"), idp.token())
    finally:
        for keystone in (idp, sp):
            await keystone.close()
            assert keystone.listener.server.errors == []


async def test_it_is_the_project_of_the_same_name(pair):
    found = await pair.exchanged()
    assert found.project_id == pair.link.sp.project_id("demo") != pair.link.idp.project_id("demo")
    assert len(found.user_id) == 64
    assert set(found.roles) == {"member", "reader"}
    assert "gAAAA" not in repr(found)
    assert pair.sent() == [
        "/v3/auth/tokens",
        "/v3/auth/OS-FEDERATION/saml2/ecp",
        "/Shibboleth.sso/SAML2/ECP",
        "/v3/OS-FEDERATION/identity_providers/top/protocols/saml2/auth",
        "/v3/auth/projects",
        "/v3/auth/tokens",
    ]


async def test_each_keystones_certificate_is_checked_by_what_is_said_of_it(tmp_path):
    authority, idp, sp = Authority(tmp_path), Keystone("top"), Keystone("tokyo")
    sp.listener.server.tls = authority.server()
    await idp.start()
    await sp.start()
    try:
        pair = Pair(Federation(idp, sp, "tokyo"), idp.token())
        assert pair.link.sp.url.startswith("https:")
        assert (await pair.exchanged(certificates=Certificates(cacert=str(authority.file)))).roles
        assert (await pair.exchanged(certificates=Certificates(verify=False))).roles
        of_the_other = {"identity_certificates": Certificates(cacert=str(authority.file))}
        for said in (
            {},
            of_the_other,
            {"certificates": Certificates(cacert=str(Authority(tmp_path, "x").file))},
        ):
            with pytest.raises(CloudAway, match="certificate of its service provider is not trusted"):
                await pair.exchanged(**said)
    finally:
        await idp.close()
        await sp.close()


async def test_it_lives_no_longer_than_the_callers_token(pair):
    pair.link.sp.store.token_seconds = 50_000.0
    pair.link.idp.store.tokens[pair.token].expires_at -= 86_400 - 600
    assert 500 < (await pair.exchanged()).life <= 600
    pair.link.sp.store.token_seconds = 60.0
    assert (await pair.exchanged()).life == 60.0


async def test_a_project_of_another_name_is_named_by_the_operator(pair):
    idp, sp = pair.link.idp, pair.link.sp
    other = sp.store.add_project("another")
    pair.link.mapped = lambda *_: {"another": frozenset({"member"}), "demo": frozenset({"member"})}
    found = await pair.exchanged(projects={idp.project_id("demo"): other})
    assert found.project_id == other
    with pytest.raises(NothingThere, match="does not let this user into the project"):
        await pair.exchanged(projects={idp.project_id("demo"): sp.project_id("alt_demo")})


async def test_of_several_projects_of_one_name_the_domain_says_which(pair):
    store = pair.link.sp.store
    second = "5" * 32
    store.add("domains", "9" * 32, name="second")
    store.add("projects", second, name="demo", domain_id="9" * 32, parent_id="9" * 32, is_domain=False)
    with pytest.raises(LoginRefused, match="project_domain") as refused:
        await pair.exchanged()
    assert not isinstance(refused.value, NothingThere)
    for domain, ident in (
        ("Default", pair.link.sp.project_id("demo")),
        ("second", second),
        ("9" * 32, second),
    ):
        assert (await pair.exchanged(project_domain=domain)).project_id == ident
    with pytest.raises(NothingThere):
        await pair.exchanged(project_domain="third")


async def test_a_token_that_is_no_more_is_the_callers_own_matter(pair):
    pair.link.idp.store.tokens[pair.token].revoked = True
    with pytest.raises(CallerRefused):
        await pair.exchanged()
    assert "/v3/auth/OS-FEDERATION/saml2/ecp" not in pair.sent()


async def test_an_unscoped_mapping_is_nothing(pair):
    pair.link.mapped = lambda *_: {}
    with pytest.raises(NothingThere, match="mapping"):
        await pair.exchanged()
    pair.link.mapped = lambda *_: {"alt_demo": frozenset({"member"})}
    with pytest.raises(NothingThere, match="no project demo"):
        await pair.exchanged()


@pytest.mark.parametrize(
    ("whose", "place", "said"),
    [
        ("idp", "GET /identity/v3/auth/tokens", "clients' Keystone answers 503"),
        ("idp", "POST /identity/v3/auth/OS-FEDERATION", "makes no assertion .503."),
        ("sp", "POST /identity/Shibboleth", "does not take the assertion .503."),
        ("sp", "GET /identity/v3/OS-FEDERATION", "its Keystone answers 503"),
        ("sp", "GET /identity/v3/auth/projects", "its Keystone answers 503"),
        ("sp", "POST /identity/v3/auth/tokens", "its Keystone answers 503"),
    ],
)
async def test_who_failed_is_said(pair, whose, place, said):
    method, target = place.split()
    getattr(pair.link, whose).faults.add(Fault("status", status=503, method=method, path=target))
    with pytest.raises(CloudAway, match=said) as failed:
        await pair.exchanged()
    assert "gAAAA" not in str(failed.value)


async def test_what_cannot_be_reached_is_said(pair):
    await pair.link.sp.close()
    with pytest.raises(CloudAway, match="service provider cannot be reached"):
        await pair.exchanged()
    with pytest.raises(CloudAway, match="clients' Keystone cannot be reached"):
        await pair.exchanged(identity_url="http://127.0.0.1:1/v3")


@pytest.mark.parametrize("sp_url", ["http://127.0.0.1:1/Shibboleth.sso/SAML2/ECP", ""])
async def test_an_assertion_is_handed_in_where_the_operator_says_only(pair, sp_url):
    if not sp_url:
        provider = pair.link.idp.service_providers["tokyo"]
        provider["sp_url"] = "http://127.0.0.1:1/Shibboleth.sso/SAML2/ECP"
    with pytest.raises(CloudAway, match="assertions for tokyo go to"):
        await pair.exchanged(sp_url=sp_url)
    assert "/v3/auth/OS-FEDERATION/saml2/ecp" not in pair.sent(), "none was asked for"
    assert (await pair.exchanged(sp_url=pair.link.sp_url)).roles if sp_url else True


@pytest.mark.parametrize("change", ["user", "project", "id"])
async def test_a_token_of_anybody_else_is_not_used(pair, change):
    sp = pair.link.sp
    describe = sp.describe

    def lying(token: Any, *, catalog: bool = True) -> dict[str, Any]:
        said: dict[str, Any] = describe(token, catalog=catalog)
        if "project" in said:
            domain = {"id": "default", "name": "Default"}
            other = '1"\r\nX-Roles: admin' if change == "id" else sp.project_id("alt_demo")
            said["user" if change == "user" else "project"] = {"id": other, "name": "demo", "domain": domain}
        return said

    sp.describe = lying
    with pytest.raises(LoginError):
        await pair.exchanged()
