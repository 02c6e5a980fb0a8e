"""Programs on the websocket: who they are by their token, as for every call of the API."""

from django.conf import settings

from lifecycle.api import auth
from lifecycle.models import ApiToken, Project
from lifecycle.realtime.consumers import TOO_FAST
from lifecycle.realtime.reads import Refused
from lifecycle.services import audit, rates, tokens


def admit(secret: str, slug: str, *, opening: bool) -> ApiToken | None:
    """The usable token behind `secret`, if there is one. Opening a connection is a call: counted, used and audited.

    Raises:
        Refused: it asks too often.
    """
    token = auth.find(secret)
    if token is None or not opening:
        return token
    if rates.take(auth.Credential(token.user, token).rate_key, settings.API_CALLS_PER_MINUTE):
        raise Refused(TOO_FAST)
    tokens.note_use(token)
    project = Project.objects.visible_to(token.user).filter(slug=slug, api_tokens=token).first()
    details = {"path": f"ws/projects/{slug}/", "status": 101 if project else 404, "token": token.beginning}
    audit.record("api.call", project=project, user=token.user, target="websocket", details=details)
    return token
