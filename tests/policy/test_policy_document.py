"""The configuration: what it means, and that every mistake in it is told at once, with its place."""

from __future__ import annotations

from pathlib import Path
from typing import get_args, get_type_hints

import msgspec
import pytest
from documents import RULE, SMALL, mistakes, of_workloads, write

from hostguard.policy.addresses import parse_address
from hostguard.policy.document import ConfigErrors, Document, load
from hostguard.policy.sections import MaskRule, Tables
from hostguard.policy.toml_lines import dotted, key_lines

SHOP = Path(__file__).parents[2] / "examples" / "shop" / "hostguard.toml"


def test_the_example_loads_and_means_what_it_says() -> None:
    shop = load(SHOP)
    assert shop.workloads["support-bot"].agent == "support-bot"
    assert shop.agents["fraud-bot"].roles == ("fraud",)
    assert shop.users["bob"].unix == ("root", "bob")
    assert shop.resources["shop"].addresses == ("127.0.0.1:5432", "[::1]:5432")
    assert shop.tags["pci.card"].mask == MaskRule(kind="partial", keep=4)
    assert shop.approvals.timeout_s == 300
    assert [Path(source.file).name for source in shop.sources] == ["base.cedar", "shop.cedar"]
    assert shop.workloads_of("support-bot") == ["support-bot"]


def test_an_empty_section_has_the_documented_defaults(tmp_path: Path) -> None:
    document = load(write(tmp_path))
    assert document.daemon.state_dir == "/var/lib/hostguard"
    assert (document.log.durability, document.log.batch_ms) == ("batch", 50)
    assert document.limits.max_message_bytes == 16 * 1024 * 1024


def test_the_base_policy_can_be_turned_off(tmp_path: Path) -> None:
    document = load(write(tmp_path, SMALL + "[policy]\nbase = false\n"))
    assert [Path(source.file).name for source in document.sources] == ["rules.cedar"]


def test_a_wrong_key_is_named_with_its_line_and_the_nearest_known_one(tmp_path: Path) -> None:
    toml = SMALL + "[limits]\nmax_flow = 5\n"
    assert mistakes(tmp_path, toml) == ["hostguard.toml:13: limits.max_flow: unknown key; did you mean max_flows?"]


def test_a_cedar_syntax_error_is_told_with_file_and_line(tmp_path: Path) -> None:
    cedar = RULE + '\n@id("x") permit (principal, action\n  resource);\n' + RULE.replace("readers read", "again")
    assert mistakes(tmp_path, cedar=cedar) == ["policies/rules.cedar:5: syntax error: unexpected token `resource`"]


def test_an_unknown_action_is_told_with_file_line_and_policy(tmp_path: Path) -> None:
    cedar = RULE + '@id("typo") permit (principal,\n  action == Action::"selct", resource);\n'
    assert mistakes(tmp_path, cedar=cedar) == [
        'policies/rules.cedar:4: typo: unknown action Action::"selct"; did you mean select?'
    ]


def test_a_missing_id_is_told_with_file_and_line(tmp_path: Path) -> None:
    cedar = "// comment;\n" + RULE + '\npermit (principal, action == Action::"select", resource);\n'
    assert mistakes(tmp_path, cedar=cedar) == [
        'policies/rules.cedar:5: every policy needs an @id("…"): it is what refusals and records name'
    ]


def test_a_unix_socket_is_open_or_a_resource_s_never_both(tmp_path: Path) -> None:
    toml = '[daemon]\nunix_allow = ["/dev/log", "@db"]\n' + SMALL.replace("addresses = [", 'addresses = ["unix:@db", ', 1)
    (mistake,) = mistakes(tmp_path, toml)
    assert mistake.startswith('hostguard.toml:2: daemon.unix_allow: "@db" is an address of resource "shop" (resources.shop.')
    assert load(write(tmp_path, toml.replace(', "@db"', ""))).resources["shop"].addresses[0] == "unix:@db"


def test_a_bad_auditors_key_is_told_by_file_key_and_number(tmp_path: Path) -> None:
    good, secret = "age1v4dq86zen7l9aa5f7acwcnqlj7are2pav06ftf6e2aprqrr5dplq8x5pgn", "AGE-SECRET-KEY-1QQQQ"
    toml = f'[log]\npayload_recipients = ["{good}", "{good[:-1]}", "{secret}"]\npayload_above_bytes = 70000\n' + SMALL
    wrong, misplaced, bound = mistakes(tmp_path, toml)
    assert wrong.startswith("hostguard.toml:2: log.payload_recipients: number 2: no age recipient (age1…, or an SSH key")
    assert misplaced.startswith("hostguard.toml:2: log.payload_recipients: number 3: this is a secret key")
    assert secret not in misplaced
    assert bound == "hostguard.toml:3: log.payload_above_bytes: expected a whole number from 0 to 65535, got 70000"
    twice = mistakes(tmp_path, f'[log]\npayload_recipients = ["{good}", "{good}"]\n' + SMALL)
    assert len(twice) == 1
    assert twice[0].startswith(f'hostguard.toml:2: log.payload_recipients: "{good[:30]}')
    assert twice[0].endswith("stands here twice")
    document = load(write(tmp_path, f'[log]\npayload_recipients = ["{good}"]\n' + SMALL))
    assert document.log.payload_recipients == (good,)


def test_all_mistakes_are_told_in_one_run(tmp_path: Path) -> None:
    toml = """
[daemon]
state_dir = "var"
[policy]
files = ["policies/*.cedar", "nowhere/*.cedar"]
[workloads.a]
cgroup = "/x"
agent = "bt"
[workloads.b]
cgroup = "x/../y"
agent = "bot"
[workloads.c]
agent = "bot"
[agents.bot]
owner = "alic"
roles = ["a", "a"]
[users.alice]
unix = ["root"]
[users.bob]
unix = ["root"]
groups = "dba"
[resources.cache]
protocol = "redis"
addresses = []
[resources.shop]
protocol = "postgres"
addresses = ["127.0.0.1", "[::1]:5"]
[resources.other]
protocol = "postgres"
addresses = ["[0:0::1]:5"]
[tags."pii..email"]
columns = ["shp/shop/public/customers/email", "email"]
mask = { kind = "nul", keep = -1 }
[tags."catalog.x"]
[deamon]
"""
    cedar = RULE + '@id("b") permit (principal in Rle::"x", action, resource);\n' + RULE
    assert mistakes(tmp_path, toml, cedar) == [
        'hostguard.toml:3: daemon.state_dir: expected an absolute path, got "var"',
        f'hostguard.toml:5: policy.files: no file matches "nowhere/*.cedar" in {tmp_path}',
        'hostguard.toml:7: workloads.a.cgroup: expected a path below the cgroup2 mount, without a leading /, got "/x"',
        'hostguard.toml:8: workloads.a.agent: there is no agent "bt"; did you mean bot?',
        'hostguard.toml:10: workloads.b.cgroup: "x/../y" is not a plain path: no empty part, no "." and no ".."',
        "hostguard.toml:12: workloads.c: a workload needs one of cgroup, unit, slice, container, user, executable",
        'hostguard.toml:15: agents.bot.owner: there is no user "alic"; did you mean alice?',
        'hostguard.toml:16: agents.bot.roles: "a" stands here twice',
        'hostguard.toml:20: users.bob.unix: UNIX user "root" is user "alice" already',
        'hostguard.toml:21: users.bob.groups: expected a list, got "dba"',
        'hostguard.toml:23: resources.cache.protocol: expected one of "postgres", "tls", got "redis"',
        "hostguard.toml:24: resources.cache.addresses: expected a list of at least one address, got an empty list",
        'hostguard.toml:27: resources.shop.addresses: "127.0.0.1" has no port; expected host:port or [IPv6]:port',
        'hostguard.toml:30: resources.other.addresses: "[0:0::1]:5" is an address of resource "shop" already',
        'hostguard.toml:31: tags."pii..email": a tag\'s name is parts with single dots between them, such as pci.card',
        'hostguard.toml:32: tags."pii..email".columns: "shp/shop/public/customers/email": there is no resource "shp"; '
        "did you mean shop?",
        'hostguard.toml:32: tags."pii..email".columns: "email" is not a column; expected resource/database/schema/table/column',
        'hostguard.toml:33: tags."pii..email".mask.kind: expected one of "null", "redact", "partial", "hash", "constant", '
        '"date_year", "format", got "nul"; did you mean "null"?',
        'hostguard.toml:33: tags."pii..email".mask.keep: expected a whole number from 0 to 64, got -1',
        'hostguard.toml:34: tags."catalog.x": tags in catalog are hostguard\'s own',
        "hostguard.toml:35: deamon: unknown key; did you mean daemon?",
        "policies/rules.cedar:3: b: unknown entity type Rle; did you mean Role?",
        "policies/rules.cedar:4: readers read: policies/rules.cedar:1 has the same @id",
    ]


@pytest.mark.parametrize(
    ("cedar", "expected"),
    [
        ('@id("a") permit (principal == ?principal, action, resource);', "a template (?principal, ?resource) permits nothing"),
        ('@id("hostguard: x") permit (principal, action, resource);', "hostguard: x: an @id that begins with"),
        ('@id(" ") permit (principal, action, resource);', "every policy needs an @id"),
        (
            '@id("a") permit (principal, action in Action::"read", resource) when { context.flgs };',
            "a: attribute flgs in context",
        ),
        (
            '@id("a") permit (principal in Role::"r", action == Action::"approve", resource);',
            "a: no action applies to this principal",
        ),
        (
            '@id("a") permit (principal, action == Action::"read", resource);',
            'match nothing; read stands for several actions: write action in Action::"read"',
        ),
        ('@id("a") permit (principal, action == Action::"unknown", resource);', 'a: unknown action Action::"unknown"'),
    ],
)
def test_policies_are_checked_against_the_schema(tmp_path: Path, cedar: str, expected: str) -> None:
    found = mistakes(tmp_path, cedar=RULE + cedar)[0]
    assert found.startswith("policies/rules.cedar:3: ")
    assert expected in found


def test_toml_that_is_none_is_told_with_its_line(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "[daemon]\nstate_dir = \n") == ["hostguard.toml:2: not TOML: Invalid value"]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(tmp_path / "no.toml")
    assert str(caught.value) == f"{tmp_path}/no.toml: can't be read: No such file or directory"


def test_policies_that_are_not_utf8_are_told(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "policies" / "bad.cedar").write_bytes(b"\xff")
    with pytest.raises(ConfigErrors, match=r"bad\.cedar can't be read: is not UTF-8"):
        load(path)


def test_a_policy_file_named_by_two_patterns_counts_once(tmp_path: Path) -> None:
    document = load(write(tmp_path, SMALL + '[policy]\nfiles = ["policies/*.cedar", "policies/rules.cedar"]\n'))
    assert len(document.sources) == 2


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:5432", ("127.0.0.1", 5432)),
        ("[::1]:5432", ("::1", 5432)),
        ("[0:0::0001]:1", ("::1", 1)),
        ("DB.example:65535", ("db.example", 65535)),
        ("my_db-1:5432", ("my_db-1", 5432)),
        ("unix:/run/postgresql/.s.PGSQL.5432", ("unix:/run/postgresql/.s.PGSQL.5432", 0)),
        ("unix:/run//x", ("unix:/run//x", 0)),
        ("unix:@name", ("unix:@name", 0)),
        ("unix:/" + "p" * 106, ("unix:/" + "p" * 106, 0)),
    ],
)
def test_addresses_have_one_form(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":5432",
        "host",
        "host:",
        "host:0",
        "host:65536",
        "host:x",
        "host:١",
        "::1:5432",
        "[::1]",
        "[x]:5",
        "1.2.3:5",
        "a b:5",
        "-a:5",
        "unix:",
        "unix:/",
        "unix:relative:5432",
        "unix:@",
        "unix:/a\0b",
        "unix:/" + "p" * 107,
        "unix:/" + "\u00fc" * 54,
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|port|address|name"):
        parse_address(text)


def test_lines_of_keys_are_found_through_quotes_and_dots() -> None:
    text = 'a.b = 1\n[tags."pii.x"]\n"c.d" = 1\n# [x]\n[[list]]\n e = "]"\n'
    assert key_lines(text) == {
        ("a", "b"): 1,
        ("tags",): 2,
        ("tags", "pii.x"): 2,
        ("tags", "pii.x", "c.d"): 3,
        ("list",): 5,
        ("list", "e"): 6,
    }
    assert dotted(("tags", "pii.x", "mask")) == 'tags."pii.x".mask'


def test_every_key_of_the_configuration_is_in_its_documentation() -> None:
    documented = (SHOP.parents[2] / "docs" / "configuration.md").read_text()
    for name in Tables.__struct_fields__:
        assert f"[{name}" in documented, name
    for struct in _structs(Tables):
        for field in struct.__struct_fields__:
            assert f"`{field}`" in documented or struct is Tables, f"{struct.__name__}.{field}"


def _structs(kind: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """The struct and all that its fields hold."""
    found = [kind]
    for hint in get_type_hints(kind).values():
        for part in (hint, *get_args(hint)):
            if isinstance(part, type) and issubclass(part, msgspec.Struct):
                found += _structs(part)
    return found


def test_a_document_is_plain_data() -> None:
    assert isinstance(load(SHOP), Document)
    assert msgspec.json.encode(load(SHOP).tags)


def test_two_workloads_can_t_share_a_cgroup(tmp_path: Path) -> None:
    toml = SMALL + '[workloads.other]\ncgroup = "hostguard/bot/"\nagent = "bot"\n'
    assert mistakes(tmp_path, toml) == ['hostguard.toml:13: workloads.other.cgroup: workload "bot" has the same cgroup']


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('cgroup = "a/*/b"', []),
        ('unit = "agent@*.service"\nuser = ["nobody", "1001"]', []),
        ('slice = "agents-*.slice"', []),
        ('container = { name = "bot-*", label = ["team=shop"] }', []),
        ('user = ["nobody"]', []),
        (f'executable = {{ path = "/usr/bin/psql", sha256 = ["{"a" * 64}"] }}', []),
        ('cgroup = ""', ['cgroup: expected a path below the cgroup2 mount, without a leading /, got ""']),
        (
            'cgroup = "a/**"',
            ['cgroup: "a/**" ends in **: what is below a workload\'s cgroup belongs to it anyway, so leave it away'],
        ),
        (
            'cgroup = "x"\nunit = "a.service"',
            ["unit: a workload has only one of cgroup, unit, slice, container; it has cgroup already"],
        ),
        ('unit = "agent"', ['unit: "agent" is not the name of a unit with processes, such as agent.service or agent@*.service']),
        ('slice = "a-.slice"', ['slice: "a-.slice" is not the name of a slice, such as agents.slice or agents-shop.slice']),
        ("container = {}", ["container: needs at least one of id, name, image, label, runtime"]),
        (
            'container = { nam = "x", runtime = "dockr" }',
            [
                "container.nam: unknown key; did you mean name?",
                'container.runtime: expected one of "", "docker", "podman", "containerd", "cri-o", "nspawn", got "dockr"; '
                'did you mean "docker"?',
                "container: needs at least one of id, name, image, label, runtime",
            ],
        ),
        ('user = ["root"]', ["user: root can't be a workload by itself, hostguard would be part of it"]),
        ("cgroup = 'x'\nuser = []", ["user: an empty list lets nobody in"]),
        ('executable = { path = "psql" }', ['executable.path: expected an absolute path, got "psql"']),
        (
            'executable = { path = "/bin/psql", sha256 = ["abc"] }',
            ['executable.sha256: expected 64 hexadecimal digits, got "abc"'],
        ),
        ("", [": a workload needs one of cgroup, unit, slice, container, user, executable"]),
    ],
)
def test_workloads_are_found_by_one_place_narrowed_or_not(tmp_path: Path, table: str, expected: list[str]) -> None:
    toml = SMALL + f'[workloads.other]\nagent = "bot"\n{table}\n'
    assert [line.removeprefix("other").removeprefix(".") for line in of_workloads(tmp_path, toml)] == expected


def test_workloads_that_nothing_tells_apart_are_told(tmp_path: Path) -> None:
    def two(one: str, other: str) -> list[str]:
        tables = f'[workloads.one]\nagent = "bot"\n{one}\n[workloads.other]\nagent = "bot"\n{other}\n'
        return of_workloads(tmp_path, SMALL + tables)

    unit = 'unit = "a@*.service"'
    assert two(unit, unit) == ['other.unit: workload "one" has the same unit']
    assert two(f"{unit}\nuser = ['a', 'b']", f"{unit}\nuser = ['b']") == ['other.unit: workload "one" has the same unit, user']
    assert two(f"{unit}\nuser = ['a']", f"{unit}\nuser = ['b']") == []
    assert two(unit, f"{unit}\nuser = ['b']") == []
    assert two("slice = 'a-b.slice'", "cgroup = 'a.slice/a-b.slice'") == ['other.cgroup: workload "one" has the same cgroup']
    assert two("user = ['a']", "user = ['a']") == ['other.user: workload "one" has the same user']
