"""Whose an address is: by what the configuration writes, by the names that the agent asked for, whoever answers falsely."""

from __future__ import annotations

import pytest

from hostguard.agent.resources import OWN_TTL_S, Place, Resources, canonical_address
from hostguard.policy.sections import Resource

GRACE_S = 300
BOT, OTHER = ("bot", 1), ("other", 1)


def resources(**addresses: str) -> Resources:
    sections = {name: Resource(protocol="postgres", addresses=tuple(text.split())) for name, text in addresses.items()}
    return Resources(sections, GRACE_S)


def test_a_written_address_is_its_resources() -> None:
    found = resources(shop="10.0.0.1:5432 [::1]:5432", hr="10.0.0.1:5433")
    assert found.at(BOT, "10.0.0.1", 5432, 0).resource == "shop"
    assert found.at(BOT, "::1", 5432, 0).resource == "shop"
    assert found.at(BOT, "10.0.0.1", 5433, 0).resource == "hr"
    assert found.at(BOT, "10.0.0.1", 5434, 0) == Place(None, "", "no resource has the address 10.0.0.1:5434")


def test_an_address_that_the_agent_was_told_for_a_resources_name_is_that_resources() -> None:
    found = resources(shop="db.example.com:5432")
    assert found.at(BOT, "10.0.0.1", 5432, 0).resource is None
    found.learn(BOT, "db.example.com", ["10.0.0.1", "fd00::0001", "::ffff:10.0.0.9"], 60, 0)
    for address in ("10.0.0.1", "fd00::1", "10.0.0.9"):
        assert found.at(BOT, address, 5432, 1) == Place("shop", "db.example.com")
    assert found.at(BOT, "10.0.0.1", 5433, 1).resource is None


def test_what_one_agent_was_told_says_nothing_of_another_or_of_another_namespace() -> None:
    found = resources(shop="db.example.com:5432")
    found.learn(BOT, "db.example.com", ["10.0.0.1"], 60, 0)
    assert found.at(OTHER, "10.0.0.1", 5432, 1).resource is None
    assert found.at(("bot", 2), "10.0.0.1", 5432, 1).resource is None


def test_an_answer_counts_until_its_time_and_the_grace_have_passed_and_then_says_so() -> None:
    found = resources(shop="db.example.com:5432")
    found.learn(BOT, "db.example.com", ["10.0.0.1"], 60, 0)
    assert found.at(BOT, "10.0.0.1", 5432, 60 + GRACE_S).resource == "shop"
    late = found.at(BOT, "10.0.0.1", 5432, 60 + GRACE_S + 1)
    assert (late.resource, late.instead_of) == (None, "shop")
    assert late.reason == "db.example.com was at 10.0.0.1 by an answer that ended 301 s ago: look db.example.com up again"
    found.learn(BOT, "db.example.com", ["10.0.0.1"], 60, 500)
    assert found.at(BOT, "10.0.0.1", 5432, 500).resource == "shop"


def test_a_name_that_moved_is_at_both_addresses_for_a_while() -> None:
    found = resources(shop="db.example.com:5432")
    found.learn(BOT, "db.example.com", ["10.0.0.1"], 5, 0)
    found.learn(BOT, "db.example.com", ["10.0.0.2"], 5, 10)
    assert [found.at(BOT, f"10.0.0.{n}", 5432, 11).resource for n in (1, 2)] == ["shop", "shop"]
    assert [found.at(BOT, f"10.0.0.{n}", 5432, 306).resource for n in (1, 2)] == [None, "shop"]


def test_our_own_look_ups_count_for_every_agent() -> None:
    found = resources(shop="db.example.com:5432")
    found.settle({"db.example.com": ["10.0.0.1"]}, 0)
    assert found.at(OTHER, "10.0.0.1", 5432, OWN_TTL_S) == Place("shop", "db.example.com")
    assert found.at(OTHER, "10.0.0.1", 5432, OWN_TTL_S + GRACE_S + 1).resource is None


def test_a_connection_to_no_resource_is_known_by_the_name_as_well() -> None:
    found = resources(shop="10.0.0.1:5432")
    found.learn(BOT, "api.example.com", ["10.0.0.5"], 60, 0)
    place = found.at(BOT, "10.0.0.5", 443, 1)
    assert place.reason == "no resource has the address 10.0.0.5:443, which this agent asked for as api.example.com"


# -- who answers falsely ------------------------------------------------------------------------------------------------------


def test_an_agents_own_zone_that_answers_with_a_resources_address_opens_nothing() -> None:
    found = resources(shop="db.example.com:5432")
    found.learn(BOT, "evil.example.net", ["10.0.0.1"], 60, 0)
    assert found.at(BOT, "10.0.0.1", 5432, 1).resource is None
    found.settle({"db.example.com": ["10.0.0.1"]}, 2)
    # It is the shop's now, and would be without that zone.
    assert found.at(BOT, "10.0.0.1", 5432, 3).resource == "shop"


def test_a_resources_name_that_leads_to_a_written_address_of_another_does_not_take_it() -> None:
    found = resources(shop="10.0.0.1:5432", partner="db.partner.example:5432")
    found.learn(BOT, "db.partner.example", ["10.0.0.1"], 60, 0)
    assert found.at(BOT, "10.0.0.1", 5432, 1) == Place("shop", "db.partner.example")
    ((said, _),) = found.disputes.values()
    assert said == "names of resource partner lead to 10.0.0.1:5432, which is resource shop's"


def test_a_resources_name_that_comes_to_lead_where_anothers_leads_does_not_take_it() -> None:
    found = resources(shop="db.example.com:5432", partner="db.partner.example:5432")
    found.settle({"db.example.com": ["10.0.0.1"], "db.partner.example": ["10.9.9.9"]}, 0)
    found.learn(BOT, "db.partner.example", ["10.0.0.1"], 60, 1)
    # Not as the partner's, whose policies may permit more; as the shop's, since that is what is there.
    assert found.at(BOT, "10.0.0.1", 5432, 2) == Place("shop", "db.partner.example")
    found.settle({"db.partner.example": ["10.0.0.1", "10.9.9.9"]}, 30)
    assert found.at(BOT, "10.0.0.1", 5432, 31).resource == "shop"
    assert found.at(BOT, "10.9.9.9", 5432, 31).resource == "partner"


def test_an_address_that_only_the_false_name_leads_this_agent_to_is_refused_while_the_other_holds_it() -> None:
    found = resources(shop="db.example.com:5432", partner="db.partner.example:5432")
    found.learn(OTHER, "db.example.com", ["10.0.0.1"], 60, 0)
    found.learn(BOT, "db.partner.example", ["10.0.0.1"], 60, 1)
    place = found.at(BOT, "10.0.0.1", 5432, 2)
    assert (place.resource, place.instead_of) == (None, "partner")
    assert place.reason == "db.partner.example of resource partner leads to 10.0.0.1:5432, which is resource shop's"
    assert found.at(OTHER, "10.0.0.1", 5432, 2).resource == "shop"


def test_an_address_goes_over_once_the_first_ones_name_no_longer_leads_there() -> None:
    found = resources(shop="db.example.com:5432", partner="db.partner.example:5432")
    found.settle({"db.example.com": ["10.0.0.1"]}, 0)
    later = OWN_TTL_S + GRACE_S + 1
    found.settle({"db.example.com": ["10.0.0.2"], "db.partner.example": ["10.0.0.1"]}, later)
    assert found.at(BOT, "10.0.0.1", 5432, later).resource == "partner"


def test_an_address_to_which_two_resources_lead_from_the_start_is_nobodys() -> None:
    both = {"db.example.com": ["10.0.0.1"], "db.partner.example": ["10.0.0.1"]}
    for order in (both, dict(reversed(both.items()))):
        found = resources(shop="db.example.com:5432", partner="db.partner.example:5432")
        found.settle(order, 0)
        assert "several resources' at once" in found.at(BOT, "10.0.0.1", 5432, 1).reason
        found.learn(BOT, "db.partner.example", ["10.0.0.1"], 60, 2)
        assert found.at(BOT, "10.0.0.1", 5432, 3).resource is None
        assert len(found.disputes) == 2


def test_two_names_of_one_resource_may_lead_to_one_address() -> None:
    found = resources(shop="a.example.com:5432 b.example.com:5432 a.example.com:6432")
    found.settle({"a.example.com": ["10.0.0.1"], "b.example.com": ["10.0.0.1"]}, 0)
    assert found.at(BOT, "10.0.0.1", 5432, 1).resource == "shop"
    assert found.at(BOT, "10.0.0.1", 6432, 1).resource == "shop"
    assert not found.disputes


def test_a_resources_name_that_leads_to_the_metadata_service_leads_nowhere() -> None:
    found = resources(partner="db.partner.example:80")
    found.learn(BOT, "db.partner.example", ["169.254.169.254", "::ffff:169.254.169.254", "0.0.0.0", "224.0.0.1"], 60, 0)
    for address in ("169.254.169.254", "0.0.0.0", "224.0.0.1"):
        assert found.at(BOT, address, 80, 1).resource is None


# -- bounds -------------------------------------------------------------------------------------------------------------------


def test_a_flood_of_other_names_pushes_no_resources_name_out() -> None:
    found = resources(shop="db.example.com:5432")
    found.learn(BOT, "db.example.com", ["10.0.0.1"], 3600, 0)
    for number in range(6000):
        found.learn(BOT, f"n{number}.example.net", [f"10.{1 + number // 250}.0.{number % 250}"], 3600, 1)
    assert found.at(BOT, "10.0.0.1", 5432, 2).resource == "shop"
    told = found.known._told[BOT]
    assert len(told.others.until) == 4096
    assert sum(map(len, told.others.names.values())) == 4096


def test_an_answer_of_very_many_addresses_counts_for_its_first() -> None:
    found = resources(shop="db.example.com:5432")
    found.learn(BOT, "db.example.com", [f"10.0.{n // 250}.{n % 250}" for n in range(500)], 60, 0)
    assert found.at(BOT, "10.0.0.63", 5432, 1).resource == "shop"
    assert found.at(BOT, "10.0.0.64", 5432, 1).resource is None


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("10.0.0.1", "10.0.0.1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("FD00:0::1", "fd00::1"), ("fe80::1%eth0", "fe80::1")],
)
def test_addresses_have_one_form(text: str, canonical: str) -> None:
    assert canonical_address(text) == canonical
