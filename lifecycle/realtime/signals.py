"""Cuts live connections at once when a session ends or a person changes; a heartbeat would find it later anyway."""

from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db.models.signals import post_delete, post_save

from lifecycle.models import User
from lifecycle.realtime import push

_UID = "lifecycle.realtime"


def connect() -> None:
    """Wire the signals; call once, when the applications are loaded."""
    # Not `user_logged_out`: it is sent before the session is deleted, and whoever looked at once would find it alive.
    post_delete.connect(_session_deleted, sender=Session, dispatch_uid=_UID)
    post_save.connect(_user_saved, sender=User, dispatch_uid=_UID)


def _session_deleted(instance: Session, **_kwargs: Any) -> None:
    """A sign-out, a session replaced at a change of password, or one that an operator removed."""
    user_id = instance.get_decoded().get(SESSION_KEY)
    if user_id is not None:
        push.session_ended(int(user_id))


def _user_saved(instance: User, created: bool, update_fields: frozenset[str] | None = None, **_kwargs: Any) -> None:
    """A new password ends other sessions, and a deactivated person has none."""
    if not created and update_fields != frozenset({"last_login"}):
        push.session_ended(instance.pk)
