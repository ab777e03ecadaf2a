"""WWW-Authenticate in every form that RFC 9110 has, and in those that registries have."""

from __future__ import annotations

import pytest

from model_registry.sources.challenges import challenges

REALM = "https://auth.example/token"


@pytest.mark.parametrize(
    ("headers", "schemes"),
    [
        ([f'Bearer realm="{REALM}",service="reg", Basic realm="R"'], ["bearer", "basic"]),
        ([f'Basic realm="R", Bearer realm="{REALM}",service="reg"'], ["bearer", "basic"]),
        (['Basic realm="R"', f'Bearer realm="{REALM}",service="reg"'], ["bearer", "basic"]),
        ([f'BEARER Realm = "{REALM}" , SERVICE=reg'], ["bearer"]),
        (["Negotiate", f'Bearer realm="{REALM}",service=reg', "Basic"], ["bearer", "basic"]),
        ([f'Negotiate oA0wC6AD=, NTLM TlRM==, Bearer realm={REALM},service="reg"'], ["bearer"]),
        ([f', ,Basic realm="a, Bearer realm=x" ,, Bearer realm="{REALM}",service="reg"'], ["bearer", "basic"]),
        ([f'Digest qop="auth,auth-int", nonce=abc, Bearer service="reg",realm="{REALM}"'], ["bearer"]),
        (["Basic"], ["basic"]),
        (["", "\x00", '"', "=,=", "Digest"], []),
    ],
)
def test_a_challenge_is_found_in_every_form(headers: list[str], schemes: list[str]) -> None:
    found = challenges(headers)
    assert [each.scheme for each in found] == schemes
    if "bearer" in schemes:
        assert (found[0].parameters["realm"], found[0].parameters["service"]) == (REALM, "reg")


def test_a_quoted_value_may_hold_quotes_and_commas() -> None:
    found = challenges([r'Basic realm="say \"a, b\" \\ c",charset=UTF-8'])
    assert found[0].parameters == {"realm": r'say "a, b" \ c', "charset": "UTF-8"}
