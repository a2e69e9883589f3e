"""`policy explain` and `policy check`: what they answer for the shop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from documents import SMALL, write

from hostguard.agent.cli.policy import command
from hostguard.policy.check import check
from hostguard.policy.decide import Policy
from hostguard.policy.document import Document, load
from hostguard.policy.explain import UnknownName, default_database, explain
from hostguard.policy.sections import Tag, Workload
from hostguard.policy.sql.catalog import Catalog

Make = Callable[..., Policy]


@pytest.fixture
def policy(document: Document) -> Policy:
    return Policy(document)


def test_an_answer_is_one_plain_object(policy: Policy) -> None:
    assert explain(policy, "support-bot", "shop", "SELECT id, email AS e, lower(name) AS n, count(*) FROM customers") == {
        "verdict": "allow",
        "policies": ["support reads the shop"],
        "effects": ["select"],
        "reads": ["public.customers"],
        "writes": [],
        "flags": [],
        "columns": [
            {"name": "id", "sources": ["public.customers.id"], "mask": None},
            {"name": "e", "sources": ["public.customers.email"], "mask": "partial"},
            {"name": "n", "sources": ["public.customers.name"], "mask": None},
            {"name": "count", "sources": [], "mask": None},
        ],
        "reason": 'permitted by "support reads the shop"',
        "hint": "",
        "accesses": [
            {
                "action": "select",
                "object": "shop/shop/public/customers",
                "verdict": "allow",
                "policies": ["support reads the shop"],
            }
        ],
        "helped_by": [],
        "remedies": [],
        "duties": [],
        "budgets": [],
    }


def test_each_column_is_told_with_what_it_depends_on(policy: Policy, catalog: Catalog) -> None:
    text = "SELECT *, upper(x.e) AS u, n FROM (SELECT email AS e, name || id AS n FROM customers) AS x"
    told = explain(policy, "support-bot", "shop", text, catalog=catalog)["columns"]
    assert [(column["name"], column["sources"], column["mask"]) for column in told] == [
        ("e", ["public.customers.email"], "partial"),
        ("n", ["public.customers.id", "public.customers.name"], None),
        ("u", ["public.customers.email"], "null"),
        ("n", ["public.customers.id", "public.customers.name"], None),
    ]


def test_a_guess_is_told_with_what_to_ask_for(policy: Policy) -> None:
    answer = explain(policy, "support-bot", "shop", "SELECT id FROM customers WHERE email = 'x'")
    assert answer["verdict"] == "deny"
    assert "match on shop/shop/public/customers/email (tag pii.email)" in answer["reason"]
    assert "ask for a policy that permits match" in answer["hint"]


def test_a_held_statement_names_whose_approval_would_help(policy: Policy) -> None:
    answer = explain(policy, "support-bot", "shop", "DELETE FROM customers WHERE id = 1")
    assert (answer["verdict"], answer["helped_by"]) == ("hold", ["group dba"])
    assert answer["policies"] == ["support deletes rows it names, with a DBA's approval"]
    assert answer["writes"] == ["public.customers"]
    assert answer["accesses"][0]["verdict"] == "hold"


def test_a_star_stands_for_itself_and_the_hidden_columns(policy: Policy) -> None:
    assert explain(policy, "fraud-bot", "shop", "SELECT * FROM customers")["columns"] == [
        {"name": "*", "sources": ["public.customers.*"], "mask": None},
        {"name": "email", "sources": ["public.customers.email"], "mask": "partial"},
    ]


def test_relations_have_their_schema(policy: Policy) -> None:
    answer = explain(policy, "support-bot", "shop", "INSERT INTO a.b SELECT 1 FROM orders, pg_class")
    assert (answer["reads"], answer["writes"]) == (["pg_catalog.pg_class", "public.orders"], ["a.b"])


@pytest.mark.parametrize("text", ["SELEC", "", "DO $$ $$", "EXECUTE p", "SELECT 1 FROM mall.public.orders", "SELECT '\x00'"])
def test_what_can_t_be_understood_is_denied_with_a_reason(policy: Policy, text: str) -> None:
    answer = explain(policy, "support-bot", "shop", text)
    assert answer["verdict"] == ("allow" if text == "" else "deny")
    assert (answer["reason"] == "nothing in it needs a permit") == (text == "")
    assert answer["reason"]


def test_an_unknown_agent_or_resource_is_told(policy: Policy) -> None:
    with pytest.raises(UnknownName, match='there is no agent "suport-bot"; did you mean support-bot'):
        explain(policy, "suport-bot", "shop", "SELECT 1")
    with pytest.raises(UnknownName, match='there is no resource "mall"; known here: shop'):
        explain(policy, "support-bot", "mall", "SELECT 1")


def test_the_database_is_the_only_one_that_anything_names(policy: Policy, with_rules: Make) -> None:
    assert default_database(policy, "shop") == "shop"
    other = '@id("a") permit (principal, action, resource in Database::"shop/books");'
    assert default_database(with_rules(other, shop=False, tags={}), "shop") == "books"
    assert default_database(with_rules(other), "shop") == "shop"
    assert explain(with_rules(other), "support-bot", "shop", "DROP TABLE a", database="books")["verdict"] == "allow"


def test_a_catalog_makes_the_answer_exact(policy: Policy, catalog: Catalog) -> None:
    text = "SELECT address || 'x' AS a FROM emails"
    assert explain(policy, "support-bot", "shop", text)["columns"][0]["mask"] is None
    assert explain(policy, "support-bot", "shop", text, catalog=catalog)["columns"][0]["mask"] == "null"


@pytest.mark.parametrize(
    ("text", "mask"),
    [
        ("SELECT card AS c FROM archive", "partial"),
        ("SELECT email FROM everyone", "partial"),
        ("SELECT address FROM emails", "null"),
        ("SELECT name FROM names", None),
        ("SELECT name FROM customers", None),
        ("SELECT relname FROM pg_class", None),
    ],
)
def test_a_catalog_tells_what_shows_hidden_columns_too(policy: Policy, catalog: Catalog, text: str, mask: str | None) -> None:
    assert explain(policy, "support-bot", "shop", text, catalog=catalog)["columns"][0]["mask"] == mask


def test_the_example_has_nothing_to_warn_of_but_an_unseen_tag(policy: Policy) -> None:
    report = check(policy)
    assert report.counts == {
        "workloads": 2,
        "agents": 2,
        "users": 3,
        "resources": 1,
        "tags": 2,
        "policies": 7,
        "base policies": 21,
    }
    assert report.warnings == ('tags."pii.email": no policy permits any agent to reveal it',)


def test_policies_that_can_match_nothing_are_named(with_rules: Make) -> None:
    cedar = """@id("a") permit (principal in Role::"suport", action in Action::"read", resource in Schema::"shop/public");
@id("b") permit (principal in Role::"support", action == Action::"reveal", resource in Tag::"pcs");
@id("c") permit (principal, action == Action::"select", resource == Table::"mall/shop/public/orders");
@id("d") permit (principal, action == Action::"call", resource in FunctionClass::"files");
@id("e") permit (principal in Group::"dab", action == Action::"approve", resource) when { resource.owner == User::"eve" };"""
    assert list(check(with_rules(cedar)).warnings) == [
        'test.cedar:1: policy "a" names Role::"suport", but there is no such role; did you mean support?',
        'test.cedar:1: policy "a" names Schema::"shop/public", but a schema is written resource/database/schema',
        'test.cedar:2: policy "b" names Tag::"pcs", but there is no such tag; did you mean pci?',
        'test.cedar:3: policy "c" names Table::"mall/shop/public/orders", but there is no resource "mall"; known here: shop',
        'test.cedar:4: policy "d" names FunctionClass::"files", but there is no such class of functions; '
        "did you mean reads_files?",
        'test.cedar:5: policy "e" names Group::"dab", but there is no such group; did you mean dba?',
        'test.cedar:5: policy "e" names User::"eve", but there is no such user; known here: alice, bob, carol',
        'tags."pii.email": no policy permits any agent to reveal it',
    ]


def test_workloads_and_tags_that_nothing_serves_are_named(with_rules: Make, document: Document) -> None:
    agents = {**document.agents, "idle": msgspec.structs.replace(document.agents["fraud-bot"], roles=())}
    workloads = {**document.workloads, "idle": Workload(cgroup="idle", agent="idle")}
    policy = with_rules(agents=agents, workloads=workloads, tags={**document.tags, "empty": Tag()})
    assert list(check(policy).warnings) == [
        'workloads.idle: no policy permits agent "idle" anything beyond the base policy',
        'tags."pii.email": no policy permits any agent to reveal it',
        'tags."empty": no column carries it',
    ]


def test_an_approval_that_nobody_may_give_is_named(with_rules: Make, document: Document) -> None:
    users = {name: msgspec.structs.replace(user, groups=()) for name, user in document.users.items()}
    warnings = check(with_rules(users=users)).warnings
    said = 'policy "support deletes rows it names, with a DBA\'s approval" waits for an approval of delete that no user may give'
    assert any(warning.endswith(said) for warning in warnings), warnings


def test_a_denial_tells_what_would_help(with_rules: Make) -> None:
    policy = with_rules(
        """
        @id("reads") permit (principal in Role::"support", action == Action::"select", resource in Database::"shop/shop")
        unless { context.flags.contains("no_where") };
        @id("no orders") forbid (principal, action, resource == Table::"shop/shop/public/orders");
        """,
        shop=False,
    )
    first = policy.document.sources[-1].file

    def helps(text: str) -> list[str]:
        found: list[str] = explain(policy, "support-bot", "shop", text)["remedies"]
        return found

    assert helps("SELECT 1 FROM customers WHERE id = 1") == []
    assert helps("SELECT * FROM orders WHERE id = 1") == [
        f'select on shop/shop/public/orders: "no orders" ({first}:4) forbids it; no permit and no approval is stronger'
    ]
    assert helps("INSERT INTO notes VALUES (1)") == [
        'insert on shop/shop/public/notes: a policy permit (principal in Role::"support", action == Action::"insert", '
        'resource == Table::"shop/shop/public/notes");'
    ]


def test_duties_and_budgets_are_told(tmp_path: Path) -> None:
    tables = """
    [duties.make]
    actions = ["insert"]
    objects = ["shop/shop/public/payees"]
    key = "iban"
    [duties.pay]
    actions = ["update"]
    objects = ["shop/shop/public/payments"]
    key = "payee"
    [exclusions.apart]
    duties = ["make", "pay"]
    within = "window"
    window_s = 60
    [budgets.small]
    window_s = 3600
    rows = 10
    over = "hold"
    """
    rule = '@id("all") permit (principal, action in [Action::"read", Action::"write"], resource);'
    policy = Policy(load(write(tmp_path, SMALL + tables, rule)))
    found = explain(policy, "bot", "shop", "INSERT INTO payees (iban) VALUES ('DE1'), ($2)")
    assert found["duties"] == [
        {
            "duty": "make",
            "objects": ["the key de1", "the key $2"],
            "apart_from": [
                {"exclusion": "apart", "duties": ["pay"], "scope": "owner", "within": "window", "window_s": 60},
            ],
        }
    ]
    assert found["budgets"] == [{"budget": "small", "window_s": 3600, "operations": 0, "rows": 10, "bytes": 0, "over": "hold"}]
    file = str(tmp_path / "hostguard.toml")
    words = ["explain", "--agent", "bot", "--resource", "shop", "DELETE FROM payees", "--config", file]
    shown = CliRunner().invoke(command, words)
    assert shown.exit_code == 0, shown.output
