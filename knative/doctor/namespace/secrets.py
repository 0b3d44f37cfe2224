"""Check of the Secrets that sources, MQTT triggers and the relay name: whether they exist and have usable keys.

Only the names of their keys are read, never the values.
"""

from __future__ import annotations

from collections.abc import Iterator

from eaves.credentials.folder import AUTHORITIES, CERTIFICATE, KEY, PASSWORD, TOKEN, USERNAME
from knative.client.kinds import SECRET
from knative.doctor.context import ExaminedSite
from knative.doctor.finding import DoctorFinding, error, ok, warning
from knative.resources.pod import VOLUMES

CHECK = "credentials"
KEYS = (USERNAME, PASSWORD, TOKEN, CERTIFICATE, KEY, AUTHORITIES)


def check_credentials(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Check each Secret that is mounted as a folder of credentials."""
    wanted: dict[tuple[str, str], str] = {}
    for made in subject.pods():
        for volume in made.spec.get("volumes", ()):
            if volume["name"] in VOLUMES:
                wanted.setdefault((made.namespace, str(volume["secret"]["secretName"])), made.by)
    for (namespace, name), by in wanted.items():
        yield _check(subject, namespace, name, by)


def _check(subject: ExaminedSite, namespace: str, name: str, by: str) -> DoctorFinding:
    held = f"--from-literal={USERNAME}=USER --from-file={PASSWORD}=FILE"
    of_relay = name == subject.app.relay.secret
    if of_relay:
        held = f"--from-file={TOKEN}=FILE --from-file={AUTHORITIES}=FILE"
    create = f"kubectl -n {namespace} create secret generic {name} {held}"
    secret = subject.cluster.get(SECRET, name, namespace=namespace)
    if secret is None:
        return error(CHECK, f"the Secret {name} does not exist in {namespace}, and {by} can't start without it", create)
    keys = set(secret.get("data") or {})
    again = f"kubectl -n {namespace} delete secret {name} && {create}"
    if not keys & set(KEYS):
        has = ", ".join(sorted(keys)) or "nothing"
        known = ", ".join(KEYS)
        return error(CHECK, f"the Secret {name} in {namespace} has none of the keys {known} (it has {has})", again)
    if of_relay and not keys & {TOKEN, CERTIFICATE}:
        return error(
            CHECK,
            f"the Secret {name} in {namespace} has no key {TOKEN}, so the receiver can't identify the site",
            again,
        )
    if (CERTIFICATE in keys) != (KEY in keys):
        missing = KEY if CERTIFICATE in keys else CERTIFICATE
        fix = (
            f"kubectl -n {namespace} create secret tls {name} --cert=FILE --key=FILE   # after deleting the "
            "existing Secret"
        )
        return error(
            CHECK,
            f"the Secret {name} in {namespace} has no {missing}: a certificate and its key are needed together",
            fix,
        )
    if PASSWORD in keys and USERNAME not in keys:
        return warning(CHECK, f"the Secret {name} in {namespace} has a {PASSWORD} but no {USERNAME}", again)
    return ok(CHECK, f"the Secret {name} exists in {namespace}, with {', '.join(sorted(keys & set(KEYS)))}")
