"""Errors as types: codes, statuses, texts and what may be tried again."""

import inspect

import pytest

from lifecycle.domain import errors
from lifecycle.domain.errors import DomainError, HypervisorError, InvalidInput, ResourcePoolExhausted

DOMAIN = [e for e in vars(errors).values() if inspect.isclass(e) and issubclass(e, DomainError)]
HYPERVISOR = [e for e in vars(errors).values() if inspect.isclass(e) and issubclass(e, HypervisorError)]


def test_every_refusal_has_a_code_of_its_own() -> None:
    codes = [error.code for error in DOMAIN]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("error", DOMAIN, ids=lambda e: e.__name__)
def test_every_refusal_has_a_status_a_client_understands(error: type[DomainError]) -> None:
    assert error.http_status in {400, 403, 404, 409, 412, 500, 503, 504}


@pytest.mark.parametrize("error", HYPERVISOR, ids=lambda e: e.__name__)
def test_every_complaint_of_a_hypervisor_has_a_text_for_the_user(error: type[HypervisorError]) -> None:
    assert error.user_text.endswith(".")


def test_only_what_may_pass_by_itself_is_tried_again() -> None:
    assert {error.__name__ for error in HYPERVISOR if error.retry} == {"Transient", "Busy", "Held"}


def test_a_text_is_its_template_with_its_values() -> None:
    error = InvalidInput("%(value)s GiB are too small.", field="disk_gib", value=3)
    assert error.text == str(error) == "3 GiB are too small."


def test_a_text_without_values_may_hold_a_percent_sign() -> None:
    assert InvalidInput("Above 100 %.").text == "Above 100 %."


def test_a_refusal_as_data_has_what_a_translation_needs() -> None:
    assert InvalidInput("%(value)s is wrong.", field="name", value=7).as_dict() == {
        "code": "INVALID_INPUT",
        "message": "7 is wrong.",
        "template": "%(value)s is wrong.",
        "params": {"value": "7"},
        "field": "name",
    }


def test_the_operators_detail_is_not_among_the_users_data() -> None:
    assert "secret" not in str(InvalidInput("Wrong.", detail="secret").as_dict())


def test_an_exhausted_pool_says_host_by_host_why() -> None:
    error = ResourcePoolExhausted("No room in %(zone)s.", zone="zone-a", reasons={"host-1": "full"})
    assert error.as_dict()["reasons"] == {"host-1": "full"}
    assert error.code == "ZONE_RESOURCE_POOL_EXHAUSTED"
