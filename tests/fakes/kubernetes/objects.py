"""What a simulated API server knows: objects, their versions, who owns their fields, and what changed when."""

import copy
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tests.fakes.kubernetes import fieldset
from tests.fakes.kubernetes.fieldset import Owner

Manifest = dict[str, Any]

_NAMES = """
v1                      Namespace- Node- Pod Service ServiceAccount ConfigMap Secret Event Endpoints
v1                      PersistentVolumeClaim ResourceQuota LimitRange
storage.k8s.io/v1       StorageClass-
apps/v1                 Deployment ReplicaSet StatefulSet DaemonSet
batch/v1                Job CronJob
networking.k8s.io/v1    NetworkPolicy
policy/v1               PodDisruptionBudget
coordination.k8s.io/v1  Lease
apiextensions.k8s.io/v1 CustomResourceDefinition-
rbac.authorization.k8s.io/v1              Role RoleBinding
serving.knative.dev/v1                    Service Revision Configuration Route
autoscaling.internal.knative.dev/v1alpha1 PodAutoscaler
networking.internal.knative.dev/v1alpha1  ServerlessService
eventing.knative.dev/v1                   Broker Trigger
eventing.knative.dev/v1beta3              EventType
messaging.knative.dev/v1                  Subscription
sources.knative.dev/v1                    SinkBinding
sinks.knative.dev/v1alpha1                JobSink
"""
"""apiVersion and kinds; `-`: in no namespace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind of object."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    @property
    def full(self) -> str:
        """Name of the resource in messages: `services.serving.knative.dev`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


def _plural(kind: str) -> str:
    name = kind.lower()
    if name.endswith("ss"):
        return name + "es"
    return name if name.endswith("ts") else name[:-1] + "ies" if name.endswith("cy") else name + "s"


def _resources() -> Iterator[Resource]:
    for api_version, *kinds in map(str.split, _NAMES.strip().splitlines()):
        for kind in kinds:
            name = kind.removesuffix("-")
            yield Resource(api_version=api_version, kind=name, plural=_plural(name), namespaced=name == kind)


RESOURCES = tuple(_resources())
Key = tuple[Resource, str, str]


class Refused(Exception):  # noqa: N818 - what is raised is an answer
    """A Status that is answered instead."""

    def __init__(self, code: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status: Manifest = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        self.status |= {"message": message, "reason": reason, "details": dict(details or {}), "code": code}


class Objects:
    """All objects of one cluster. Every method may be called from any thread."""

    def __init__(self) -> None:
        self.changed = threading.RLock()
        self.version = 1000
        self._objects: dict[Key, Manifest] = {}
        self._owners: dict[Key, list[Owner]] = {}
        self.make_namespace("default")

    def make_namespace(self, name: str) -> None:
        """Make a namespace unless it is there."""
        with self.changed:
            resource = _resource("v1", "Namespace")
            if (resource, "", name) not in self._objects:
                self.write(resource, "", {"metadata": {"name": name}}, manager="kubectl")

    def generation(self, resource: Resource, namespace: str, name: str) -> int | None:
        """Return the generation of an object; None when it doesn't exist."""
        with self.changed:
            found = self._objects.get((resource, namespace if resource.namespaced else "", name))
            return None if found is None else int(found["metadata"]["generation"])

    def find(self, resource: Resource, namespace: str, name: str) -> Manifest:
        with self.changed:
            found = self._objects.get((resource, namespace if resource.namespaced else "", name))
            if found is None:
                raise not_found(resource, name)
            return copy.deepcopy(found)

    def listed(self, resource: Resource, namespace: str) -> list[Manifest]:
        with self.changed:
            keys = [key for key in self._objects if key[0] == resource and namespace in {"", key[1]}]
            return [copy.deepcopy(self._objects[key]) for key in sorted(keys, key=lambda key: key[1:])]

    def write(
        self,
        resource: Resource,
        namespace: str,
        new: Mapping[str, Any],
        *,
        manager: str,
        subresource: str = "",
        admit: Callable[[Manifest], None] = lambda manifest: None,
    ) -> Manifest:
        """Create or replace an object; the manager owns what that changes."""
        with self.changed:
            key, old = self._locate(resource, namespace, new["metadata"]["name"])
            self._precondition(resource, new, old)
            wanted = self._framed(key, new, old)
            if subresource:
                wanted = {**(old or wanted), subresource: copy.deepcopy(dict(new)).get(subresource, {})}
            elif old is not None and "status" in old:
                wanted["status"] = old["status"]
            admit(wanted)
            owners = copy.deepcopy(self._owners.get(key, []))
            differs, gone = fieldset.changed(old or {}, wanted, resource.group)
            me = self._owner(owners, manager, "Update", resource, subresource)
            for owner in owners:
                owner.fields -= gone if owner is me else gone | differs
            me.fields |= differs
            return self._store(key, old, wanted, owners, dry_run=False)

    def apply(
        self,
        resource: Resource,
        namespace: str,
        patch: Mapping[str, Any],
        *,
        manager: str,
        force: bool = False,
        dry_run: bool = False,
        admit: Callable[[Manifest], None] = lambda manifest: None,
    ) -> Manifest:
        """Server-side apply."""
        patch = {name: value for name, value in patch.items() if name != "status"}
        with self.changed:
            key, old = self._locate(resource, namespace, patch["metadata"]["name"])
            self._precondition(resource, patch, old)
            patch["metadata"] = {name: value for name, value in patch["metadata"].items() if name != "uid"}
            owners = copy.deepcopy(self._owners.get(key, []))
            me = self._owner(owners, manager, "Apply", resource, "")
            clashes = fieldset.conflicts(old or {}, patch, owners, me, resource.group)
            if clashes and not force:
                raise conflict(clashes)
            for owner, path in clashes:
                owner.fields.discard(path)
            before, me.fields = me.fields, fieldset.fields(patch, resource.group)
            merged = fieldset.merge(old or {}, patch, resource.group)
            fieldset.prune(merged, before - me.fields, owners, resource.group)
            wanted = self._framed(key, merged, old)
            admit(wanted)
            return self._store(key, old, wanted, owners, dry_run=dry_run)

    def remove(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        dry_run: bool = False,
        required: Mapping[str, str] = MappingProxyType({}),
    ) -> Manifest:
        """Delete, with what it owns; what has finalizers stays, marked.

        Source: k8s.io/apimachinery, metav1.Preconditions; k8s.io/apiserver, pkg/storage/interfaces.go (the wording).
        """
        with self.changed:
            key, old = self._locate(resource, namespace, name)
            if old is None:
                raise not_found(resource, name)
            for field, label in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
                if required.get(field, old["metadata"][field]) != old["metadata"][field]:
                    said = f"Precondition failed: {label} in precondition: {required[field]}, {label} in object meta: "
                    message = (
                        f'Operation cannot be fulfilled on {resource.full} "{name}": {said}{old["metadata"][field]}'
                    )
                    details = {"name": name, "group": resource.group, "kind": resource.plural}
                    raise Refused(409, "Conflict", message, details)
            if dry_run:
                return copy.deepcopy(old)
            if old["metadata"].get("finalizers"):
                marked = copy.deepcopy(old)
                marked["metadata"].setdefault("deletionTimestamp", timestamp())
                return self._store(key, old, marked, self._owners[key], dry_run=False)
            del self._objects[key], self._owners[key]
            gone = copy.deepcopy(old)
            self._tell(gone)
            uid = old["metadata"]["uid"]
            for (other, space, dependent), value in list(self._objects.items()):
                if any(one.get("uid") == uid for one in value["metadata"].get("ownerReferences", [])):
                    self.remove(other, space, dependent)
            return gone

    def _locate(self, resource: Resource, namespace: str, name: str) -> tuple[Key, Manifest | None]:
        space = namespace if resource.namespaced else ""
        home, key = self._objects.get((_resource("v1", "Namespace"), "", space)), (resource, space, name)
        if space and home is None:
            raise not_found(_resource("v1", "Namespace"), space)
        if home and key not in self._objects and home["metadata"].get("deletionTimestamp"):
            message = f"unable to create new content in namespace {space} because it is being terminated"
            raise Refused(403, "Forbidden", f'{resource.full} "{name}" is forbidden: {message}')
        return key, self._objects.get(key)

    def _precondition(self, resource: Resource, new: Mapping[str, Any], old: Manifest | None) -> None:
        """An object that is gone is made anew, whatever resourceVersion is asked for, unless a UID is asked for, too.

        Source: Kubernetes 1.36, watched.
        """
        name, uid, wanted = (new["metadata"].get(field) for field in ("name", "uid", "resourceVersion"))
        if uid and old is None:
            said = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            message = f'Operation cannot be fulfilled on {resource.full} "{name}": {said}'
            raise Refused(409, "Conflict", message, {"name": name, "group": resource.group, "kind": resource.plural})
        if wanted and old is not None and wanted != old["metadata"]["resourceVersion"]:
            message = (
                f'Operation cannot be fulfilled on {resource.full} "{name}": the object has been modified; please '
                "apply your changes to the latest version and try again"
            )
            raise Refused(409, "Conflict", message, {"name": name, "group": resource.group, "kind": resource.plural})

    def _framed(self, key: Key, new: Mapping[str, Any], old: Manifest | None) -> Manifest:
        """With what only the server sets."""
        resource, namespace, name = key
        framed = copy.deepcopy(dict(new)) | {"apiVersion": resource.api_version, "kind": resource.kind}
        kept = (old or {}).get("metadata", {})
        framed["metadata"] = {
            **framed["metadata"],
            "name": name,
            **({"namespace": namespace} if namespace else {}),
            "uid": kept.get("uid") or str(uuid.uuid4()),
            "creationTimestamp": kept.get("creationTimestamp") or timestamp(),
        }
        for field in ("resourceVersion", "generation", "managedFields"):
            framed["metadata"].pop(field, None)
            if field in kept:
                framed["metadata"][field] = copy.deepcopy(kept[field])
        return framed

    def _owner(self, owners: list[Owner], manager: str, operation: str, resource: Resource, subresource: str) -> Owner:
        for owner in owners:
            if (owner.manager, owner.operation, owner.subresource) == (manager, operation, subresource):
                return owner
        api_version = resource.api_version
        owner = Owner(manager=manager, operation=operation, subresource=subresource, api_version=api_version)
        owners.append(owner)
        return owner

    def _store(self, key: Key, old: Manifest | None, new: Manifest, owners: list[Owner], *, dry_run: bool) -> Manifest:
        """Keep it, unless nothing is new; a new resourceVersion, and a new generation when more than its status is."""
        known = {(one.manager, one.operation, one.subresource): one for one in self._owners.get(key, [])}
        owners = [owner for owner in owners if owner.fields]
        for owner in owners:
            before = known.get((owner.manager, owner.operation, owner.subresource))
            if before is None or before.fields != owner.fields:
                owner.time = timestamp()
        new["metadata"]["managedFields"] = [owner.entry() for owner in owners]
        if old == new:
            return copy.deepcopy(new)
        spec_changed = old is None or _desired(old) != _desired(new)
        new["metadata"]["generation"] = (old or {"metadata": {}})["metadata"].get("generation", 0) + spec_changed
        new["metadata"]["resourceVersion"] = str(self.version + 1)
        if dry_run:
            if old is not None:
                new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
            else:
                del new["metadata"]["resourceVersion"]
            return new
        self._objects[key], self._owners[key] = new, owners
        self._tell(new)
        if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers"):
            return self.remove(*key)
        return copy.deepcopy(new)

    def _tell(self, new: Manifest) -> None:
        self.version += 1
        new["metadata"]["resourceVersion"] = str(self.version)


def _desired(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: child for name, child in value.items() if name not in {"metadata", "status"}}


def _resource(api_version: str, kind: str) -> Resource:
    return next(one for one in RESOURCES if (one.api_version, one.kind) == (api_version, kind))


def resource_of(manifest: Mapping[str, Any]) -> Resource:
    """The kind of a manifest."""
    return _resource(manifest["apiVersion"], manifest["kind"])


def not_found(resource: Resource, name: str) -> Refused:
    details = {"name": name, "kind": resource.plural} | ({"group": resource.group} if resource.group else {})
    return Refused(404, "NotFound", f'{resource.full} "{name}" not found', details)


def conflict(clashes: list[tuple[Owner, fieldset.Path]]) -> Refused:
    """Return a conflict with the API server's message.

    Source: apimachinery, util/managedfields/internal/conflict.go.
    """
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {owner.said}", "field": fieldset.printed(path)}
        for owner, path in clashes
    ]
    if len(clashes) == 1:
        said = f"1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        lines: dict[str, list[str]] = {}
        for owner, path in clashes:
            lines.setdefault(owner.said, []).append(f"- {fieldset.printed(path)}")
        parts = [f"conflicts with {name}:\n" + "\n".join(paths) for name, paths in sorted(lines.items())]
        said = f"{len(clashes)} conflicts: " + "\n".join(parts)
    return Refused(409, "Conflict", f"Apply failed with {said}", {"causes": causes})


def timestamp() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
