"""How people get accounts: by invitation, with passwords of their own."""

from allauth.account.adapter import DefaultAccountAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.forms import BaseForm
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from lifecycle.domain.errors import DomainError
from lifecycle.models import Invitation, User
from lifecycle.services import accounts as account_service
from lifecycle.services import projects
from lifecycle.web.refusals import text_of

#: The session's key for the invitation a visitor follows.
INVITATION = "invitation"


def remember_invitation(request: HttpRequest, token: str) -> None:
    """Keep the invitation while its visitor makes an account."""
    request.session[INVITATION] = token


def followed_invitation(request: HttpRequest) -> Invitation | None:
    """The open invitation this visitor follows."""
    token = request.session.get(INVITATION)
    return projects.find_invitation(token) if token else None


class AccountAdapter(DefaultAccountAdapter):
    """Sign-up is open to who follows an invitation, and redeems it; one-time passwords end when replaced."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return followed_invitation(request) is not None

    def save_user(self, request: HttpRequest, user: User, form: BaseForm, commit: bool = True) -> User:
        saved: User = super().save_user(request, user, form, commit)
        token = request.session.pop(INVITATION, None)
        if commit and token:
            try:
                membership = projects.accept_invitation(token, user=saved)
            except DomainError as error:
                messages.error(request, text_of(error))
            else:
                messages.success(request, _("Welcome to %(project)s.") % {"project": membership.project})
        return saved

    def clean_password(self, password: str, user: User | None = None) -> str:
        if user is not None and user.pk and user.must_change_password and user.check_password(password):
            raise ValidationError(_("Choose another password than the one-time password."))
        return str(super().clean_password(password, user))

    def set_password(self, user: User, password: str) -> None:
        super().set_password(user, password)
        if user.must_change_password:
            account_service.password_changed(user)
            user.must_change_password = False

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("web:home")


class SocialAccountAdapter(DefaultSocialAccountAdapter):
    """Who comes by OpenID Connect gets an account by invitation, or when the operator opened the door."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return settings.OIDC_SIGNUP or followed_invitation(request) is not None
