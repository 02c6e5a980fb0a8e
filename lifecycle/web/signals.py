"""What people do with their accounts, for the audit log: django-allauth and Django tell it by signals."""

from typing import Any

from allauth.account.signals import password_changed, password_reset
from allauth.mfa.signals import authenticator_added, authenticator_removed, authenticator_reset
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.http import HttpRequest

from lifecycle.models import User
from lifecycle.services import audit


def _signed_in(user: User, **_kwargs: Any) -> None:
    audit.record("user.login", user=user, target=user.get_username())


def _signed_out(user: User | None, **_kwargs: Any) -> None:
    if user is not None:
        audit.record("user.logout", user=user, target=user.get_username())


def _refused(credentials: dict[str, Any], **_kwargs: Any) -> None:
    """Whom they tried to be; a password that was typed into the wrong field must not be kept, so known names only."""
    name = str(credentials.get("username") or credentials.get("email") or "")
    known = User.objects.filter(username=name).exists() or User.objects.filter(email__iexact=name).exists()
    audit.record("user.login_failed", target=name if name and known else "")


def _password(request: HttpRequest, user: User, **_kwargs: Any) -> None:
    audit.record("user.password", user=user, target=user.get_username())


def _factor(what: str) -> Any:
    def told(user: User, authenticator: Any, **_kwargs: Any) -> None:
        details = {"factor": str(authenticator.type), "change": what}
        audit.record("user.mfa", user=user, target=user.get_username(), details=details)

    return told


def connect() -> None:
    """Listen, once a process; the receivers live as long as it."""
    user_logged_in.connect(_signed_in, weak=False, dispatch_uid="audit.login")
    user_logged_out.connect(_signed_out, weak=False, dispatch_uid="audit.logout")
    user_login_failed.connect(_refused, weak=False, dispatch_uid="audit.login_failed")
    password_changed.connect(_password, weak=False, dispatch_uid="audit.password")
    password_reset.connect(_password, weak=False, dispatch_uid="audit.password_reset")
    authenticator_added.connect(_factor("added"), weak=False, dispatch_uid="audit.mfa_added")
    authenticator_removed.connect(_factor("removed"), weak=False, dispatch_uid="audit.mfa_removed")
    authenticator_reset.connect(_factor("made anew"), weak=False, dispatch_uid="audit.mfa_reset")
