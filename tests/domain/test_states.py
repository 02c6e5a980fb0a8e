"""Every state goes through every group, so that a new state cannot be forgotten in one of them."""

import pytest

from lifecycle.domain import states
from lifecycle.domain.states import State
from tests.domain.lifecycle_md import STATE_FACTS

each_state = pytest.mark.parametrize("state", list(State))


@each_state
def test_a_state_holds_compute_as_the_specification_says(state: State) -> None:
    assert (state in states.HOLDS_COMPUTE) == STATE_FACTS[state.value].holds_compute


@each_state
def test_a_state_bills_vcpus_as_the_specification_says(state: State) -> None:
    assert (state in states.VCPU_BILLED) == STATE_FACTS[state.value].vcpu_billed


@each_state
def test_a_state_bills_memory_as_the_specification_says(state: State) -> None:
    assert (state in states.MEMORY_BILLED) == STATE_FACTS[state.value].memory_billed


@each_state
def test_a_state_bills_storage_as_the_specification_says(state: State) -> None:
    assert (state in states.STORAGE_BILLED) == STATE_FACTS[state.value].storage_billed


@each_state
def test_a_state_counts_for_the_sla_as_the_specification_says(state: State) -> None:
    assert (state in states.IN_SLA) == STATE_FACTS[state.value].in_sla


@each_state
def test_every_state_holds_its_disks_and_addresses(state: State) -> None:
    assert state in states.HOLDS_STORAGE


@each_state
def test_a_state_is_either_stable_or_transitional(state: State) -> None:
    assert (state in states.STABLE) != (state in states.TRANSITIONAL)


@each_state
def test_a_guest_may_run_wherever_compute_is_held_after_the_reservation(state: State) -> None:
    assert (state in states.GUEST_MAY_RUN) == (state in states.HOLDS_COMPUTE and state is not State.PROVISIONING)


@each_state
def test_vcpus_are_billed_only_while_they_are_held(state: State) -> None:
    assert state not in states.VCPU_BILLED or state in states.HOLDS_COMPUTE


@each_state
def test_the_value_of_a_state_is_its_name(state: State) -> None:
    assert state.value == state.name
