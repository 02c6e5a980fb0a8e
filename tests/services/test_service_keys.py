"""Keys of service accounts are found by what a stranger sends: on every database without an error."""

import base64
import json

import pytest

from lifecycle.services import service_keys

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db]


@pytest.mark.parametrize("kid", ["\0", "a\0b", "é", "nobody"])
def test_a_key_id_that_nobody_has_opens_nothing(kid: str) -> None:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "RS256", "kid": kid}).encode()).rstrip(b"=").decode()
    assert service_keys.find(f"{header}.e30.c2ln") is None
