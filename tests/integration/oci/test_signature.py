"""Signatures that cosign makes and that cosign and skopeo take, and all that is no signature of a container image."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from click.testing import Result

from eaves.errors import EavesError, OciError, SignatureError
from eaves.oci.copy import copy_image
from eaves.oci.descriptor import INDEX, Descriptor, Reference, build_descriptor, render_document
from eaves.oci.layers.image import load_images
from eaves.oci.registry.registry import Registry
from eaves.oci.registry.transport import Access
from eaves.oci.signatures import PREDICATE, load_public_key, signature_tag
from knative.deploy.function_image import resolve_image
from tests.cli import eaves as run_command
from tests.container_images.packaging import need
from tests.container_images.registries import LocalRegistry, small_index

PLAIN = Access(plain_http=True, configs=(Path("/nowhere/config.json"),), pause_s=0.01)
PASSWORD = b"a word"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A signed container image at a registry.

    Attributes:
        at: The registry.
        store: Its repository.
        reference: Its tag.
        index: What the tag names.
        keys: Prefix of the key pair.
        altered: What was altered behind the registry's back, as it was before.
    """

    at: LocalRegistry
    store: Registry
    reference: Reference
    index: Descriptor
    keys: Path
    altered: dict[Path, bytes] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return str(self.reference)

    @property
    def public(self) -> Path:
        return self.keys.with_suffix(".pub")

    def verify(self, *options: str, key: Path | None = None) -> Result:
        return eaves("verify", self.text, "--key", str(key or self.public), "--plain-http", *options)


def eaves(*words: str) -> Result:
    return run_command(*words, COSIGN_PASSWORD=PASSWORD.decode())


def fault(result: Result) -> EavesError:
    assert isinstance(result.exception, EavesError), result.output
    return result.exception


def run(*command: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    need(command[0])
    environment = {**os.environ, "COSIGN_PASSWORD": PASSWORD.decode(), **(env or {})}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def make_keys(prefix: Path) -> None:
    done = run("cosign", "generate-key-pair", "--output-key-prefix", str(prefix))
    assert done.returncode == 0, done.stderr


def cosign_verify(case: Case, digest: str) -> subprocess.CompletedProcess[str]:
    options = ["--insecure-ignore-tlog=true", "--allow-http-registry"]
    return run("cosign", "verify", "--key", str(case.public), *options, str(case.reference.pinned(digest)))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prefix of a key pair; another one is beside it, `other`."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("mine", "other"):
        make_keys(folder / name)
    return folder / "mine"


def push(registry: LocalRegistry, folder: Path, repository: str, content: bytes = b"one") -> Case:
    layout, index = small_index(folder, content)
    reference = Reference(host=registry.host, repository=repository, tag="v1")
    store = Registry(reference, PLAIN)
    copy_image(layout, store, index, name="v1")
    return Case(at=registry, store=store, reference=reference, index=index, keys=folder / "none")


def sign_by(case: Case, keys: Path) -> Case:
    name = str(case.reference.pinned(case.index.digest))
    result = eaves("sign", name, "--key", f"{keys}.key", "--plain-http")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{name}\n"
    return replace(case, keys=keys)


@pytest.fixture
def case(registry: LocalRegistry, tmp_path: Path, keys: Path, request: pytest.FixtureRequest) -> Iterator[Case]:
    repository = f"signature/t{abs(hash(request.node.name))}"
    case = sign_by(push(registry, tmp_path / "case", repository), keys)
    yield case
    for path, content in case.altered.items():  # repositories share what has one digest
        path.write_bytes(content)


@pytest.mark.long("container images are built and read by other tools")
def test_cosign_verifies_what_we_sign_each_manifest_of_it(case: Case):
    for digest in (case.index.digest, *(image.descriptor.digest for image in load_images(case.store, case.index))):
        done = cosign_verify(case, digest)
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)[0]
        assert said["critical"]["image"]["docker-manifest-digest"] == digest
    assert cosign_verify(replace(case, keys=case.keys.with_name("other")), case.index.digest).returncode != 0


def attest(case: Case, folder: Path, keys: Path, kind: str = PREDICATE) -> subprocess.CompletedProcess[str]:
    """Write a bundle that refers to the index: with the kind PREDICATE that is how cosign 3 signs."""
    predicate = folder / "predicate.json"
    predicate.write_text("{}")
    options = ["--yes", "--tlog-upload=false", "--allow-http-registry", "--new-bundle-format"]
    what = ["--type", kind, "--predicate", str(predicate)]
    name = str(case.reference.pinned(case.index.digest))
    return run("cosign", "attest", *options, *what, "--key", f"{keys}.key", name)


def test_a_bundle_of_cosign_3_is_verified(registry: LocalRegistry, tmp_path: Path, keys: Path):
    case = replace(push(registry, tmp_path, "signature/bundle"), keys=keys)
    done = attest(case, tmp_path, keys)
    assert done.returncode == 0, done.stderr
    result = case.verify("-o", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["signed_as"] == ""
    assert "not by" in str(fault(case.verify(key=keys.with_name("other.pub"))))
    sign_by(case, keys.with_name("other"))
    assert case.verify().exit_code == 0, "a signature of the other format beside it changes nothing"


def test_a_bundle_is_copied_to_another_container_image(registry: LocalRegistry, tmp_path: Path, keys: Path):
    case = replace(push(registry, tmp_path, "signature/bundle-of"), keys=keys)
    assert attest(case, tmp_path, keys).returncode == 0
    (bundle,) = case.store.referrers(case.index.digest)
    evil = push(registry, tmp_path / "evil", "signature/bundle-of", b"evil")
    content = render_document({"schemaVersion": 2, "mediaType": INDEX, "manifests": [bundle.to_dict()]})
    case.store.write_manifest(build_descriptor(content, INDEX), content, evil.index.digest.replace(":", "-"))
    assert f"for the digest '{case.index.digest}'" in str(fault(case.verify()))


def test_only_what_the_key_has_signed_is_deployed(case: Case):
    with pytest.raises(SignatureError, match="not by"):
        resolve_image(case.text, PLAIN, key=load_public_key(case.keys.with_name("other.pub")))
    with pytest.raises(OciError, match="not the container image of a function"):
        resolve_image(case.text, PLAIN, key=load_public_key(case.public))


def alter(case: Case, descriptor: Descriptor) -> None:
    """Change one byte behind the registry's back."""
    path = case.at.blob_path(descriptor.digest)
    content = bytearray(case.altered.setdefault(path, path.read_bytes()))
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_whatever_is_altered_is_refused(case: Case):
    images = list(load_images(case.store, case.index))
    documents = [one for image in images for one in (image.config, image.descriptor)]
    for descriptor in (*images[0].layers, *documents, case.index):
        alter(case, descriptor)
        assert isinstance(fault(case.verify()), OciError), descriptor
        for path, content in case.altered.items():
            path.write_bytes(content)
    assert case.verify().exit_code == 0


def test_the_tag_is_moved_to_an_unsigned_one(case: Case, tmp_path: Path):
    push(case.at, tmp_path / "evil", case.reference.repository, b"evil")
    assert "is not signed" in str(fault(case.verify()))
    pinned = replace(case, reference=case.reference.pinned(case.index.digest))
    assert pinned.verify().exit_code == 0, "by digest the moved tag doesn't count"


def test_a_signature_is_copied_from_another_container_image(case: Case, tmp_path: Path):
    signature = case.store.resolve(signature_tag(case.index.digest))
    evil = push(case.at, tmp_path / "evil", case.reference.repository, b"evil")
    case.store.write_manifest(signature, case.store.read(signature), signature_tag(evil.index.digest))
    error = fault(case.verify())
    assert isinstance(error, SignatureError)
    assert f"for the digest '{case.index.digest}'" in str(error)
    assert cosign_verify(case, evil.index.digest).returncode != 0


def test_a_signed_one_is_passed_off_as_another(case: Case, tmp_path: Path):
    """With its signature, in another repository: an older or another function of the same owner."""
    there = push(case.at, tmp_path / "there", f"{case.reference.repository}-other")
    signature = case.store.resolve(signature_tag(case.index.digest))
    values = json.loads(case.store.read(signature))
    for entry in (values["config"], *values["layers"]):
        blob = Descriptor(media_type="x", digest=entry["digest"], size=entry["size"])
        assert there.store.mount(blob, case.reference.repository)
    there.store.write_manifest(signature, case.store.read(signature), signature_tag(case.index.digest))
    there = replace(there, keys=case.keys)
    error = fault(there.verify())
    assert isinstance(error, SignatureError)
    assert "--signed-as" in str(error.hint)
    original = f"{case.reference.host}/{case.reference.repository}"
    assert there.verify("--signed-as", original).exit_code == 0, "a mirror, which says so"
