"""The end of suspensions: tells people a week before, and asks for the operation when the time has come."""

import logging
import smtplib
from typing import Final

from django.conf import settings
from django.core.mail import EmailMessage
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext, override

from lifecycle.domain.errors import DomainError
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import VM, User
from lifecycle.services import expiry, rounds
from lifecycle.services.vms import request_action

log = logging.getLogger(__name__)

ROUND: Final = "expiry"
TURN_SECONDS: Final = 600.0
BATCH: Final = 100


def expire_and_tell() -> tuple[int, int]:
    """One look at all that is suspended; returns how many operations were asked for, and how many VMs' people told."""
    with rounds.turn(ROUND, seconds=TURN_SECONDS) as mine:
        if mine is None:
            return 0, 0
        expired = sum(_expire(vm) for vm in expiry.expired(BATCH))
        told = sum(_tell(vm) for vm in expiry.to_be_noticed(BATCH))
    return expired, told


def _expire(vm: VM) -> bool:
    try:
        request_action(vm, Action.EXPIRE, user=None, asked_by=Asker.TIMER)
    except DomainError as error:  # resumed, stopped or deleted at this moment
        log.info("the suspension of %s is not ended now: %s", vm, error)
        return False
    return True


def _tell(vm: VM) -> bool:
    """Mail first, record then: a crash between the two tells twice, and never not at all."""
    if settings.MAIL_ENABLED:
        try:
            for person in expiry.people_of(vm):
                _send(_notice(vm, person))
        except (smtplib.SMTPException, OSError) as error:
            log.warning("the notice about %s could not be sent; trying again: %s", vm, error)
            return False
    return expiry.noticed(vm.pk, vm.state_since)


def _send(message: EmailMessage) -> None:
    """An address that is refused keeps the others from nothing."""
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused as error:
        log.warning("a notice reached nobody: %s", error)


def _notice(vm: VM, person: User) -> EmailMessage:
    """The notice in the person's language."""
    ends = expiry.expires_at(vm)
    with override(person.language or settings.LANGUAGE_CODE):
        values = {"vm": vm.name, "project": vm.project.slug, "date": date_format(localtime(ends)) if ends else "–"}
        subject = gettext("The suspension of %(vm)s ends on %(date)s") % values
        text = gettext(
            "%(vm)s in the project %(project)s has been suspended for long. On %(date)s its saved memory is "
            "discarded and it is stopped; its disks stay. Resume it before then to keep what is in its memory."
        )
        address = f"{settings.PUBLIC_URL}/projects/{vm.project.slug}/vms/{vm.name}/"
        return EmailMessage(subject, f"{text % values}\n\n{address}\n", to=[person.email])
