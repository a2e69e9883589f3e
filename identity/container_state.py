"""What a container runtime's state file says of a container.

Pure: bytes of the file in, `Container` out. Where the files lie is in `STATE_FILES`; all are root's. What none of them has is
None, "not known": podman keeps labels in a database that isn't read, containerd's bundle has those of Kubernetes only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .containers import Container, ContainerRef

MAX_STATE_BYTES = 4 * 1024 * 1024

STATE_FILES: Mapping[str, tuple[str, ...]] = {
    "docker": ("/var/lib/docker/containers/{id}/config.v2.json",),
    "podman": ("/var/lib/containers/storage/overlay-containers/containers.json",),
    "containerd": (
        "/run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}/config.json",
        "/run/containerd/io.containerd.runtime.v2.task/default/{id}/config.json",
    ),
    "cri-o": ("/run/containers/storage/overlay-containers/{id}/userdata/config.json",),
    "nspawn": (),
}
"""Paths by runtime, the first that exists counts; the id is one that `container_of` took from a path, so it has no slash."""


def described(ref: ContainerRef, state: bytes | None) -> Container:
    """The container; without a readable state file only what its cgroup path tells. Never raises."""
    if ref.runtime == "nspawn":
        return Container("nspawn", ref.id, name=ref.id)
    bare = Container(ref.runtime, ref.id)
    if state is None:
        return bare
    try:
        document = json.loads(state)
        return _READERS[ref.runtime](ref, document) or bare
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return bare


def _docker(ref: ContainerRef, document: Any) -> Container | None:
    """moby's daemon/container: ``ID``, ``Name`` with a slash in front, ``Config`` as in the API."""
    if document["ID"] != ref.id:
        return None
    config = document["Config"]
    name = _text(document["Name"])
    return Container(
        "docker", ref.id, name.removeprefix("/") if name else None, _text(config["Image"]), _labels(config.get("Labels") or {})
    )


def _podman(ref: ContainerRef, document: Any) -> Container | None:
    """containers/storage: a list with ``id``, ``names``, and a ``metadata`` text that is JSON again, with ``image-name``."""
    for item in document:
        if item["id"] == ref.id:
            metadata = json.loads(item.get("metadata") or "{}")
            names = item.get("names") or [metadata.get("name")]
            return Container("podman", ref.id, _text(names[0]), _text(metadata.get("image-name")))
    return None


def _annotated(ref: ContainerRef, document: Any) -> Container | None:
    """An OCI bundle's config.json: the runtimes write what they know into its annotations."""
    notes = document.get("annotations") or {}
    if not isinstance(notes, dict):
        return None
    keys = _ANNOTATIONS[ref.runtime]
    name = next((notes[key] for key in keys["name"] if key in notes), None)
    image = next((notes[key] for key in keys["image"] if key in notes), None)
    pod = {label: notes[key] for label, key in keys["labels"].items() if key in notes}
    return Container(ref.runtime, ref.id, _text(name), _text(image), _labels(pod) if pod else None)


_ANNOTATIONS: Mapping[str, Any] = {
    "containerd": {
        "name": ("io.kubernetes.cri.container-name", "nerdctl/name"),
        "image": ("io.kubernetes.cri.image-name",),
        "labels": {
            "io.kubernetes.pod.name": "io.kubernetes.cri.sandbox-name",
            "io.kubernetes.pod.namespace": "io.kubernetes.cri.sandbox-namespace",
            "io.kubernetes.pod.uid": "io.kubernetes.cri.sandbox-uid",
        },
    },
    "cri-o": {
        "name": ("io.kubernetes.container.name",),
        "image": ("io.kubernetes.cri-o.ImageName", "io.kubernetes.cri-o.Image"),
        "labels": {
            "io.kubernetes.pod.name": "io.kubernetes.pod.name",
            "io.kubernetes.pod.namespace": "io.kubernetes.pod.namespace",
            "io.kubernetes.pod.uid": "io.kubernetes.pod.uid",
        },
    },
}

_READERS = {"docker": _docker, "podman": _podman, "containerd": _annotated, "cri-o": _annotated}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _labels(value: Any) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((str(key), str(text)) for key, text in value.items()))
