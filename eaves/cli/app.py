"""The app that eaves.yaml describes, as a spec for this machine and for each site, with warnings about the file."""

from __future__ import annotations

import difflib
import re
import secrets
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from eaves.cli.output import say
from eaves.cli.project import Project, ProjectSource, Workspace
from eaves.config import iter_leaves
from eaves.credentials import read_aws_keys, read_credentials
from eaves.delivery.sinks import DATASET
from eaves.errors import ConfigError, Fault
from eaves.event_schemas import SCHEMAS
from eaves.events import (
    AUDIT,
    CHOSEN,
    CHOSEN_SCORE,
    IMAGE_CAPTURED,
    IMAGE_REJECTED,
    PREDICTED,
    TENSOR_CAPTURED,
    TYPE_PREFIX,
    UNSURE,
    source_uri,
)
from eaves.local.jobs import find_dataset
from eaves.local.state import LocalApp, LocalFunction
from eaves.platform import FunctionSpec, RelaySpec, SourceSpec, TriggerSpec, default_trigger
from eaves.redact import has_secrets
from eaves.sources.agent.configuration import ConfiguredSource, read_source
from eaves.sources.kind import load_kind
from eaves.sources.settings import DEFAULT_KIND
from functions.settings import ServeSettings
from knative.settings import ClusterApp

if TYPE_CHECKING:
    from eaves.artifact import Artifact
    from knative.inventory import FunctionImage
    from knative.settings import SiteSettings
    from knative.training.job import TrainingJob

_TYPES = (*SCHEMAS, IMAGE_CAPTURED, IMAGE_REJECTED, TENSOR_CAPTURED)
_ATTRIBUTES = (
    *("id", "source", "type", "subject", "time", "datacontenttype", "partitionkey", "datadigest", "sequence"),
    *("traceparent", "tracestate", "crop", "scaledto", "reencoded", "senderid", "sendersource"),
    *("causeid", "causesource", "model", "modelversion", "label", "confidence", CHOSEN, CHOSEN_SCORE),
)
"""Attributes that events of Eaves may have."""
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
"""An event attribute in the url of a trigger, such as `{label}`."""
_SYNONYMS = {"camera": "partitionkey", "version": "modelversion", "file": "subject", "path": "subject"}
"""Wrong attribute name that people may write to the attribute that they mean, such as `camera` to `partitionkey`."""


def build_local_app(workspace: Workspace, artifact: Artifact) -> LocalApp:
    """Build the spec of the app that eaves.yaml describes, for this machine and with an artifact.

    Raises:
        ConfigError: When a folder that a source or trigger reads is missing.
    """
    project = workspace.project
    function = LocalFunction(
        **_settings(project, resolve_serving(workspace)),
        site=project.site,
        artifact=artifact.path,
        artifact_digest=artifact.digest,
        task=artifact.manifest.task,
    )
    app = LocalApp(
        function=function,
        triggers=(_feeding_trigger(function), *resolve_triggers(workspace), *_keeping_triggers(workspace)),
        sources=resolve_sources(workspace),
        relay=resolve_relay(workspace),
        choose=project.choose,
        through=project.through,
    )
    if faults := [Fault(origin=workspace.origin, path=path, message=text) for path, text in app.faults()]:
        raise ConfigError(faults)
    return app


def build_site_app(project: Project, image: FunctionImage, site: SiteSettings) -> ClusterApp:
    """Build the spec of the app that eaves.yaml describes, for a site and with a container image."""
    function = FunctionSpec(
        **_settings(project, project.function), site=site.name, artifact_digest=image.artifact_digest, task=image.task
    )
    return ClusterApp(
        function=function,
        triggers=(_feeding_trigger(function), *project.triggers),
        sources=project.sources,
        relay=project.relay,
        choose=project.choose,
        through=project.through,
        image=image.name,
        classes=image.classes,
        knative=project.knative,
        site=site,
    )


def build_training(workspace: Workspace, *, data: str = "", run: str = "", namespace: str = "") -> TrainingJob:
    """Build the training that eaves.yaml describes, for a cluster.

    Args:
        workspace: The project.
        data: Path or URI of the labelled images, in place of that in eaves.yaml; empty for that in eaves.yaml.
        run: Name of the run; empty for a name made from the settings.
        namespace: Namespace of the objects; empty for that in eaves.yaml.
    """
    from knative.training.job import TrainingJob
    from trainer.storage import is_uri

    project = workspace.project
    job = replace(project.job, data=data, data_claim="" if is_uri(data) else project.job.data_claim) if data else None
    return TrainingJob(
        name=project.name,
        site=project.site,
        data=project.data,
        train=project.train,
        convert=project.convert,
        pipeline=project.pipeline,
        job=job or project.job,
        knative=project.knative,
        namespace=namespace or project.job.namespace,
        run=run,
    )


def _feeding_trigger(function: FunctionSpec) -> TriggerSpec:
    return default_trigger(function.name, captured=function.captured, start_timeout_s=function.scale.start_timeout_s)


def _keeping_triggers(workspace: Workspace) -> Iterator[TriggerSpec]:
    """Yield the trigger from chosen images to the project's folder of labelled images, if `choose.here` is true.

    Raises:
        ConfigError: When the project's labelled images aren't in a folder.
    """
    if not workspace.project.choose.here:
        return
    if (folder := find_dataset(workspace.root)) is None:
        message = "must be false, as data.path names no folder of images"
        raise ConfigError.single(workspace.origin, "choose.here", message)
    yield TriggerSpec(
        name=DATASET,
        filters=(
            {"prefix": {"source": source_uri(workspace.project.site, "")}},  # a receiver may pass on those of others
            {"any": [{"exact": {CHOSEN: why}} for why in (AUDIT, UNSURE)]},
        ),
        url=f"{DATASET}://{quote(str(folder))}",
    )


def _settings(project: Project, function: ServeSettings) -> dict[str, Any]:
    """Return the settings of a function that are the same on every platform.

    Those of its process that differ from their defaults are environment variables.
    """
    env = {}
    for leaf in iter_leaves(ServeSettings):
        value = getattr(function, leaf.path)
        if leaf.path != "concurrency" and value != leaf.default:
            env[leaf.env] = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return {"name": project.name, "scale": project.scale, "concurrency": function.concurrency, "env": env}


def resolve_serving(workspace: Workspace) -> ServeSettings:
    """Return the section `function` of eaves.yaml with the absolute path of its folder of credentials.

    Raises:
        ConfigError: When the folder of credentials can't be used.
    """
    function = workspace.project.function
    if function.dataref_credentials is None:
        return function

    def check(folder: Path) -> str:
        return "" if read_aws_keys(folder) else f"{folder} holds neither access_key nor secret_key"

    folder, faults = _check_folder(workspace, function.dataref_credentials, "function.dataref_credentials", check)
    if faults:
        raise ConfigError(faults)
    return replace(function, dataref_credentials=folder)


def resolve_sources(workspace: Workspace) -> tuple[SourceSpec, ...]:
    """Return the sources in eaves.yaml with every path absolute.

    Prints a warning for each path that doesn't exist, for which the source waits because it may be on a disk that isn't
    mounted now, and for each address that holds a password.

    Raises:
        ConfigError: When folders of credentials don't exist; it holds a fault for each.
    """
    faults: list[Fault] = []
    resolved = [
        SourceSpec(
            name=source.name,
            kind=source.kind,
            options=_resolve_options(workspace, number, source, faults),
            through=source.through,
        )
        for number, source in enumerate(workspace.project.sources)
    ]
    if faults:
        raise ConfigError(faults)
    return tuple(resolved)


def configure_guest(values: Mapping[str, Any], origin: str, *, command: str, site: str) -> ConfiguredSource:
    """Build a source for a command, which must not disturb the agent that runs the same source.

    Raises:
        ConfigError: When the settings have faults.
    """
    name = f"eaves-{command}-{site}-{values.get('name', '')}-{secrets.token_hex(4)}"
    guest = load_kind(values.get("kind", DEFAULT_KIND)).guest(values, name)
    configured, faults = read_source({**values, **guest}, origin, "")
    if configured is None:
        raise ConfigError(faults)
    return configured


def _resolve_options(workspace: Workspace, number: int, spec: ProjectSource, faults: list[Fault]) -> dict[str, Any]:
    """Return a source's options with parsed numbers and absolute paths; add a fault for each folder that must exist."""
    source, prefix, given = spec.configure(), f"sources[{number}].", spec.options
    options, kind = dict(given), source.kind
    for name, value in given.items():
        if isinstance(value, str) and has_secrets(value):
            say(
                f"warning: {workspace.origin}: {prefix}{name} holds a password or token; write it to the files "
                "username and password in a folder that only you may read, and set `credentials` to that folder"
            )
    for section in (source.common, source.options, source.claims, source.settings):
        for leaf in iter_leaves(type(section)):
            name, value = leaf.path, getattr(section, leaf.path)
            if isinstance(value, bool | int | float) and name in given:
                options[name] = value  # eaves.yaml may hold a text
            if isinstance(value, Path):
                path = workspace.path(value).absolute()
                options[name] = str(path)
                if not path.exists() and section is source.common:
                    message = f"{path} does not exist"
                    faults.append(Fault(origin=workspace.origin, path=f"{prefix}{name}", message=message))
                elif not path.exists():
                    hint = f": mkdir -p {shlex.quote(str(path))}" if source.common.kind == "folder" else ""
                    waits = f"{path} does not exist; the source waits for it{hint}"
                    say(f"warning: {workspace.origin}: {prefix}{name}: {waits}")
    if (file := options.get(kind.place_setting)) is not None and kind.is_file(str(file)):
        options[kind.place_setting] = str(workspace.path(Path(str(file))))
    return options


def resolve_triggers(workspace: Workspace) -> tuple[TriggerSpec, ...]:
    """Return the triggers in eaves.yaml, with absolute paths of their folders of credentials.

    Prints a warning for each address that holds a password, and for each event attribute that a trigger names although
    no event has it.

    Raises:
        ConfigError: When folders of credentials can't be used; it holds a fault for each.
    """
    warn_of_attributes(workspace)
    resolved: list[TriggerSpec] = []
    faults: list[Fault] = []
    for number, trigger in enumerate(workspace.project.triggers):
        if has_secrets(trigger.url):
            say(
                f"warning: {workspace.origin}: triggers[{number}].url holds a password or token, which a deployment to "
                "a cluster refuses; for MQTT, write it to the files username and password in a folder that only you "
                "may read, and set `mqtt: {credentials: FOLDER}`"
            )
        folder = trigger.mqtt.credentials
        if folder is not None:
            folder, found = _check_folder(workspace, folder, f"triggers[{number}].mqtt.credentials", read_credentials)
            faults += found
        resolved.append(replace(trigger, mqtt=replace(trigger.mqtt, credentials=folder)))
    if faults:
        raise ConfigError(faults, hint="name a folder with the files username and password that only you may read")
    return tuple(resolved)


def resolve_relay(workspace: Workspace) -> RelaySpec:
    """Return the relay in eaves.yaml, with the absolute path of its folder of credentials.

    Raises:
        ConfigError: When the folder of credentials can't be used.
    """
    relay = workspace.project.relay
    if not relay.enabled or relay.credentials is None:
        return relay

    def check(folder: Path) -> str:
        found = read_credentials(folder)
        if found.token or found.certificate is not None:
            return ""
        needed = "one of which the receiver needs to recognise this site"
        return f"{folder} holds neither token nor tls.crt with tls.key, {needed}"

    folder, faults = _check_folder(workspace, relay.credentials, "relay.credentials", check)
    if faults:
        raise ConfigError(faults, hint="name a folder with the files token and ca.crt that only you may read")
    return replace(relay, credentials=folder)


def _check_folder(
    workspace: Workspace, folder: Path, path: str, check: Callable[[Path], object]
) -> tuple[Path, list[Fault]]:
    """Return the absolute path of a folder of credentials, and what `check` finds wrong: its text, or its error."""
    absolute, messages = workspace.path(folder).absolute(), list[str]()
    try:
        if isinstance(found := check(absolute), str) and found:
            messages = [found]
    except ConfigError as error:
        messages = [f"{fault.path} {fault.message}" for fault in error.faults]
    return absolute, [Fault(origin=workspace.origin, path=path, message=message) for message in messages]


def warn_of_attributes(workspace: Workspace) -> None:
    """Print a warning for each event attribute that triggers and alarms name although no event has it.

    Filters of such an attribute never match, and an MQTT topic with it always has the level `unknown`. The names are
    not refused, because events of other programs may have any attribute.
    """
    for number, trigger in enumerate(workspace.project.triggers):
        used = [(f"filter.{name}", name) for name in trigger.filter]
        used += [("url", name) for name in (_PLACEHOLDER.findall(trigger.url) if trigger.needs_publisher else ())]
        for warning in _find_warnings(trigger.filter, used):
            say(f"warning: {workspace.origin}: triggers[{number}].{warning}")
    for number, alarm in enumerate(workspace.project.relay.alarms):
        for warning in _find_warnings(alarm, [(name, name) for name in alarm]):
            say(f"warning: {workspace.origin}: relay.alarms[{number}].{warning}")


def warn_of_types(workspace: Workspace, replied: str) -> None:
    """Print a warning for each trigger that selects predictions of another type than `replied`, the model's."""
    for number, trigger in enumerate(workspace.project.triggers):
        wanted = trigger.filter.get("type", "")
        if wanted in PREDICTED and wanted != replied:
            place = f"{workspace.origin}: triggers[{number}].filter.type"
            say(f"warning: {place}: this model's predictions have the type {replied}, and don't pass {wanted}")


def _find_warnings(filter_: Mapping[str, str], used: list[tuple[str, str]]) -> Iterator[str]:
    """Yield a warning for each named attribute that no event of Eaves has, and for a type that none has.

    Args:
        filter_: Attribute to the value that a selected event has.
        used: Path of a setting, and the attribute that it names; this includes the filter's names.
    """
    wanted = filter_.get("type", "")
    if wanted and wanted not in _TYPES:
        if wanted.startswith(TYPE_PREFIX):
            yield f"filter.type: no event has the type {wanted}; {_suggest(wanted, _TYPES)}"
        return  # the attributes of other programs' events are not known
    for place, name in used:
        if name not in _ATTRIBUTES and not name.startswith("knative"):  # which Knative's brokers add
            yield f"{place}: no event of Eaves has the attribute {name}; {_suggest(name, _ATTRIBUTES)}"


def _suggest(name: str, known: tuple[str, ...]) -> str:
    near = [_SYNONYMS[name]] if name in _SYNONYMS else difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
