"""Who asks: the person behind `Authorization: Bearer`, and what their token opens."""

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest

from lifecycle.api.errors import ApiError, not_found
from lifecycle.api.registry import Method
from lifecycle.models import ApiToken, Project, User
from lifecycle.services import rates, service_keys, tokens
from lifecycle.services.places import Place

_CHALLENGE = 'Bearer realm="vmportal"'


@dataclass(frozen=True, slots=True)
class Credential:
    """Whoever proved who they are: the person, what limits them, and the key under which their calls are counted."""

    user: User
    token: ApiToken

    @property
    def rate_key(self) -> str:
        """Calls are counted under it."""
        return f"token:{self.token.pk}"


def authenticate(request: HttpRequest, *, count: bool = True) -> Credential:
    """The person behind the request's token.

    Args:
        count: whether it is a call of its own, for the rate and the last use.

    Raises:
        ApiError: 401 without a usable token, 429 when it asks too often.
    """
    secret = _secret_of(request)
    if not secret:
        raise _unauthenticated("Request is missing required authentication credential: send Authorization: Bearer.")
    token = find(secret)
    if token is None:
        raise _unauthenticated("Request had invalid authentication credentials: unknown, expired or revoked token.")
    credential = Credential(token.user, token)
    if not count:
        return credential
    wait = rates.take(credential.rate_key, settings.API_CALLS_PER_MINUTE)
    if wait:
        message = f"Rate limit of {settings.API_CALLS_PER_MINUTE} calls a minute exceeded. Retry in {wait} seconds."
        raise ApiError(429, "rateLimitExceeded", message, Retry_After=str(wait))
    tokens.note_use(token)
    return credential


def token_of(request: HttpRequest) -> ApiToken | None:
    """The usable token that came with the request, however often it asks."""
    secret = _secret_of(request)
    return find(secret) if secret else None


def _secret_of(request: HttpRequest) -> str:
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    return secret.strip() if kind.lower() == "bearer" else ""


def find(secret: str) -> ApiToken | None:
    """The usable token, or key of a service account, behind what was sent."""
    return tokens.find(secret) or service_keys.find(secret)


def place_for(credential: Credential, method: Method, project: str) -> Place:
    """The project by name or number, as the person sees it.

    Raises:
        ApiError: 404 for a stranger and for a token that was made for other projects; 403 when it may only read.
    """
    number = int(project) if project.isascii() and project.isdigit() and len(project) < 16 else None
    asked = {"pk": number} if number is not None else {"slug": project.replace("\0", "?")}
    found = Project.objects.visible_to(credential.user).filter(api_tokens=credential.token, **asked).first()
    role = found.role_of(credential.user) if found else None
    if found is None or role is None:
        raise not_found(f"projects/{project}")
    if method.writes and not credential.token.may_write:
        raise ApiError(403, "insufficientPermissions", f"This token may only read; compute.{method.id} changes things.")
    return Place(found, role, credential.user)


def _unauthenticated(message: str) -> ApiError:
    return ApiError(401, "authError", message, WWW_Authenticate=_CHALLENGE)
