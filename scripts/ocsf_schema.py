"""Compile what tests/recorder/ocsf_datastore_activity.json holds from a clone of github.com/ocsf/ocsf-schema.

    scripts/ocsf_schema.py CLONE 1.6.0 > tests/recorder/ocsf_datastore_activity.json

The published schema is spread over files that extend and include each other. This puts together the class Datastore Activity and
the objects that our events use: for each attribute its type, requirement, profile and enumeration; descriptions are left out. An
object of the events that is not in the list fails the test.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

OBJECTS = (
    "actor", "authorization", "database", "file", "metadata", "network_endpoint", "policy", "process", "product", "query_info",
    "session", "table", "user",
)  # fmt: skip

Node = dict[str, Any]


class Schema:
    """One release of the schema in a clone."""

    def __init__(self, clone: str, release: str) -> None:
        self._clone, self._release = clone, f"{release}^{{commit}}"
        files = self._git("ls-tree", "-r", "--name-only", self._release).split()
        self.objects = self._named(name for name in files if name.startswith("objects/"))
        self.classes = self._named(name for name in files if name.startswith("events/") and name.endswith(".json"))
        self.dictionary = self.read("dictionary.json")

    def read(self, path: str) -> Node:
        found = json.loads(self._git("show", f"{self._release}:{path}"))
        assert isinstance(found, dict)
        return found

    def _git(self, *words: str) -> str:
        return subprocess.run(["git", "-C", self._clone, *words], check=True, capture_output=True, text=True).stdout

    def _named(self, paths: Any) -> dict[str, Node]:
        nodes = [self.read(path) for path in paths]
        return {node.get("name") or node["extends"]: node for node in nodes}

    def compiled(self, store: dict[str, Node], name: str) -> Node:
        """All attributes of a class or object, those that it inherits and includes as well."""
        node = store[name]
        above = node.get("extends")
        merged = self._merged(store, name)
        assert above is None or above in store
        return {
            "attributes": {key: self._attribute(key, value) for key, value in sorted(merged["attributes"].items())},
            "constraints": merged["constraints"],
        }

    def _merged(self, store: dict[str, Node], name: str) -> Node:
        node = store[name]
        above = node.get("extends")
        base = self._merged(store, above) if above in store and above != name else {"attributes": {}, "constraints": {}}
        attributes = dict(base["attributes"])
        own = dict(node.get("attributes", {}))
        included = own.pop("$include", [])
        for path in [included] if isinstance(included, str) else included:
            profile = self.read(path)
            for key, value in profile["attributes"].items():
                if not key.startswith("$"):
                    attributes[key] = _joined(attributes.get(key, {}), {"profile": profile["name"], **value})
        for key, value in own.items():
            attributes[key] = _joined(attributes.get(key, {}), value)
        return {"attributes": attributes, "constraints": {**base["constraints"], **node.get("constraints", {})}}

    def _attribute(self, name: str, node: Node) -> Node:
        known = self.dictionary["attributes"].get(name, {})
        kind = node.get("type") or known.get("type")
        found: Node = {
            "type": (node.get("object_type") or known.get("object_type")) if kind == "object_t" else kind,
            "requirement": node.get("requirement", "optional"),
        }
        if known.get("is_array") or node.get("is_array"):
            found["array"] = True
        if node.get("profile"):
            found["profile"] = node["profile"]
        if values := {**known.get("enum", {}), **node.get("enum", {})}:
            found["enum"] = {key: value["caption"] for key, value in sorted(values.items())}
        return found


def _joined(before: Node, after: Node) -> Node:
    return {**before, **after, "enum": {**before.get("enum", {}), **after.get("enum", {})}}


def main() -> None:
    """Print the compiled class."""
    clone, release = sys.argv[1:]
    schema = Schema(clone, release)
    types = schema.dictionary["types"]["attributes"]
    event = {**schema.compiled(schema.classes, "datastore_activity"), "uid": schema.classes["datastore_activity"]["uid"]}
    # A class does not repeat its category and its own number: the schema's server fills these in.
    category = schema.read("categories.json")["attributes"]["application"]
    event["attributes"]["category_uid"]["enum"] = {str(category["uid"]): category["caption"]}
    event["attributes"]["class_uid"]["enum"] = {str(category["uid"] * 1000 + event["uid"]): "Datastore Activity"}
    compiled = {
        "version": schema.read("version.json")["version"],
        "class": event,
        "objects": {name: schema.compiled(schema.objects, name) for name in OBJECTS},
        "types": {name: {k: node[k] for k in ("type", "regex", "max_len") if k in node} for name, node in sorted(types.items())},
    }
    json.dump(compiled, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
