"""Keys of service accounts: a key pair whose private half is handed out once, as the JSON file Google's libraries read.

A key is a token by other means: it acts for the person who made it, in one project, until it expires or is revoked. Its
holder signs either a request for an access token (RFC 7523) or the call itself.
"""

import json
import secrets
from datetime import timedelta
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.core import signing
from django.utils import timezone

from lifecycle.domain.errors import Forbidden
from lifecycle.models import ApiToken, Project, User
from lifecycle.services import audit, rates, tokens
from lifecycle.services.db import service

#: Access tokens that a key was exchanged for begin so, and live an hour, as Google's do.
PREFIX: Final = "vmx_"
LIFETIME: Final = timedelta(hours=1)
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
#: What Google's Python library names as the audience whatever `token_uri` says; only our keys are looked up.
_GOOGLES_AUDIENCE: Final = "https://oauth2.googleapis.com/token"
#: How far a signer's clock may be off, in seconds.
_LEEWAY: Final = 60
_SALT: Final = "lifecycle.service_keys"
_BITS: Final = 2048


@service
def create(
    user: User, name: str, project: Project, *, may_write: bool, days: int, token_uri: str
) -> tuple[ApiToken, str]:
    """A service account's key and the text of its JSON file, which is shown once and never stored.

    Raises:
        InvalidInput, NotFound: as `tokens.create`.
    """
    token, _secret = tokens.create(user, name, [project], may_write=may_write, days=days)
    key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    token.key_id, token.public_key = secrets.token_hex(20), public.decode()
    # The secret of the row was never shown: the key pair alone opens it.
    token.beginning = token.key_id[:8]
    token.save(update_fields=["key_id", "public_key", "beginning"])
    body = {
        "type": "service_account",
        "project_id": project.slug,
        "private_key_id": token.key_id,
        "private_key": private.decode(),
        "client_email": email_of(token, project),
        "client_id": str(token.pk),
        "token_uri": token_uri,
        "universe_domain": "googleapis.com",
    }
    return token, json.dumps(body, indent=2)


def email_of(token: ApiToken, project: Project) -> str:
    """What a service account is called."""
    return f"key-{token.pk}@{project.slug}.vmportal.internal"


def exchange(assertion: str, audience: str) -> tuple[str, int]:
    """An access token for a signed request for one, and its life in seconds. Audited; refusals once a minute a caller.

    Raises:
        Forbidden: not signed by a usable key, not for this installation, expired, or made for too long a time.
    """
    found = _signed(assertion, [audience, _GOOGLES_AUDIENCE])
    if found is None:
        if rates.first(f"refused:grant:{audit.origin().ip}"):
            audit.record("api.call", target="token", details={"status": 400})
        raise Forbidden("The assertion is not signed by a usable key of this installation, or has expired.")
    details = {"status": 200, "token": found.beginning}
    audit.record("api.call", project=found.projects.first(), user=found.user, target="token", details=details)
    return PREFIX + signing.dumps(found.pk, salt=_SALT), int(LIFETIME.total_seconds())


def find(secret: str) -> ApiToken | None:
    """The key behind an access token it was exchanged for, or behind a call that it signed itself."""
    if secret.startswith(PREFIX):
        try:
            pk = signing.loads(secret.removeprefix(PREFIX), salt=_SALT, max_age=LIFETIME)
        except signing.BadSignature:
            return None
        return ApiToken.objects.usable().exclude(key_id=None).select_related("user").filter(pk=pk).first()
    return _signed(secret, None) if secret.count(".") == 2 else None


def _signed(text: str, audience: list[str] | None) -> ApiToken | None:
    """The usable key that signed a JWT which counts now; `audience` None takes those that name a service or a scope."""
    try:
        key_id = jwt.get_unverified_header(text).get("kid")
        if not (isinstance(key_id, str) and key_id.isascii() and key_id.isalnum()):
            return None
        token = ApiToken.objects.usable().select_related("user").filter(key_id=key_id).first()
        if token is None:
            return None
        options: Any = {"require": ["iss", "iat", "exp"], "verify_aud": audience is not None}
        claims = jwt.decode(
            text, token.public_key, algorithms=["RS256"], audience=audience, leeway=_LEEWAY, options=options
        )
        return token if _is_in_order(token, claims) else None
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError):  # it may claim anything, of any type
        return None


def _is_in_order(token: ApiToken, claims: dict[str, Any]) -> bool:
    """Of this account, and not for longer than an hour, as Google has it."""
    longest = LIFETIME.total_seconds() + _LEEWAY
    project = token.projects.first()
    if project is None or not isinstance(claims["iat"], (int, float)) or not isinstance(claims["exp"], (int, float)):
        return False
    named = {claims["iss"], claims.get("sub", claims["iss"])} == {email_of(token, project)}
    return named and claims["exp"] - claims["iat"] <= longest and claims["exp"] <= timezone.now().timestamp() + longest
