"""A site's part in a model of many sites: it sends sums over its images, then its judgement of the merged head.

    sums.npz, judgement.npz   the last file of each kind: its number, its content until the relay has it, and the images
                              of this and of earlier files; written before the first byte is sent
    features/BACKBONE/        features of the images of the last file, so that a changed class can be summed again
    answers/ARTIFACT/         features and the serving model's logits of the images that are held out
    head.npz                  the merged head that was judged last

A file has the sums of all released images, so a lost one costs nothing. A process that is killed at any point sends the
same bytes with the same number again. The folder stays at the site.
"""

from __future__ import annotations

import csv
import hashlib
import io
import secrets
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from eaves.base.disk_errors import disk_errors
from eaves.base.files import make_directory, write_atomically
from eaves.base.locks import locked
from eaves.base.names import build_name
from eaves.errors import RunError
from eaves.events import Event
from eaves.federation_events import FEDERATION_JUDGEMENT, FEDERATION_SUMS, build_federation_event
from trainer.data.dataset import name_groups, read_once
from trainer.data.groups import group_copies, join_piles
from trainer.data.listing import LabelledImage, check_not_loose, load_listing
from trainer.federation.artifact_features import ArtifactFeatures
from trainer.federation.head_file import MergedHead
from trainer.federation.judgement import judge
from trainer.federation.merging import reconcile
from trainer.federation.privacy import (
    MINIMUM,
    About,
    History,
    ReleasedImage,
    add_noise,
    choose_images,
    find_released,
    record,
)
from trainer.model.feature_sums import (
    CHUNK,
    DAMAGED,
    PROJECTED,
    Features,
    FeatureSums,
    Floats,
    SumsOrigin,
    build_projection,
    parse_arrays,
    parse_origin,
    render_arrays,
)
from trainer.progress import SILENT, TrainingProgress

HELD_OUT = 0.2
"""Share of the groups of images that are held out and never summed, unless the data declare the split."""
BATCH = 64
"""Number of images whose features are computed before they are stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSettings:
    """Settings of a site.

    Attributes:
        site: Name of the site.
        minimum: Smallest number of images of a class by which two files differ.
        features: Number of random projections that the features are reduced to; 0 sends them as they are.
        epsilon: Noise of each file; 0 for none.
    """

    site: str
    minimum: int = MINIMUM
    features: int = 0
    epsilon: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SentFile:
    """The last file of one kind, which the relay may have or not.

    Attributes:
        sequence: Number of the file; 0 before the first.
        digest: The sha256 of its content, hex.
        content: Its content until the relay has accepted it, then empty.
        origin: What the features of its images are computed by.
        backbones: For each file, in their order, what computed its features; projections of them are no others.
        history: What was in these files.
        epsilon: Sum of the epsilons of all files.
    """

    sequence: int = 0
    digest: str = ""
    content: bytes = b""
    origin: SumsOrigin = field(default_factory=SumsOrigin)
    backbones: tuple[str, ...] = ()
    history: History = field(default_factory=dict)
    epsilon: float = 0.0

    def find_files(self, backbone: str) -> int:
        """Return the bits of the files whose features were computed by a backbone."""
        return sum(1 << number for number, one in enumerate(self.backbones) if one == backbone)

    def follow(self, content: bytes) -> SentFile:
        """Return the next file, which has the same history."""
        sequence = max(self.sequence + 1, time.time_ns() // 1_000_000)
        return replace(self, sequence=sequence, content=content, digest=hashlib.sha256(content).hexdigest())

    def to_bytes(self) -> bytes:
        """Return the content of the file that keeps it at the site."""
        out = io.StringIO(newline="")
        rows = ((*key, one.group, f"{one.files:x}") for key, one in sorted(self.history.items()))
        csv.writer(out).writerows(rows)
        names = ("sequence", "digest", "backbones", "epsilon")
        about = {**asdict(self.origin), **{name: getattr(self, name) for name in names}}
        text = out.getvalue().encode(errors="surrogateescape")
        content, images = (np.frombuffer(one, np.uint8) for one in (self.content, text))
        return render_arrays(about, content=content, images=images)

    @classmethod
    def load(cls, path: Path) -> SentFile:
        """Load the last file of one kind; one without a number when there is none yet.

        Raises:
            RunError: When the site's record of it is damaged.
        """
        if not path.exists():
            return cls()
        try:
            about, arrays = parse_arrays(path.read_bytes(), ("content", "images"))
            text = arrays["images"].tobytes().decode(errors="surrogateescape")
            return cls(
                sequence=int(about["sequence"]),
                digest=str(about["digest"]),
                content=arrays["content"].tobytes(),
                origin=parse_origin(about),
                backbones=tuple(map(str, about["backbones"])),
                history={
                    (digest, label): ReleasedImage(group=group, files=int(files, 16))
                    for digest, label, group, files in csv.reader(io.StringIO(text, newline=""))
                },
                epsilon=float(about["epsilon"]),
            )
        except (*DAMAGED, csv.Error) as error:
            raise RunError(
                f"{path} is damaged, so it is not known what this site has sent: {str(error)[:200]}",
                hint="restore the file; without it, the next file may differ from earlier ones by few images",
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteImages:
    """A site's images, on two sides.

    Attributes:
        summed: Images that may be summed.
        held_out: Images that only judge.
        notes: Sentences for people.
    """

    summed: Sequence[LabelledImage]
    held_out: Sequence[LabelledImage]
    notes: Sequence[str]


def load_site_images(folder: Path, history: History, progress: TrainingProgress = SILENT) -> SiteImages:
    """Load a site's labelled images. Those of a group are on one side; that of a group with summed images is fixed.

    Args:
        folder: Folder with one subfolder per class, or with photos and `labels.csv`; its audit sample is left out.
        history: What was in earlier files.
        progress: Receives one step for each file.

    Raises:
        DatasetError: The folder can't be read, or one image is in two classes.
    """
    listing = load_listing(folder)
    check_not_loose(listing)
    images = [image for image in read_once(listing, [], progress) if not image.fault]
    groups = join_piles(group_copies(images, "similar", progress).groups, images)
    names, _ = name_groups(images, groups, "")
    images = [replace(image, group=name, look=None) for image, name in zip(images, names, strict=True)]
    known = {digest for digest, _ in history}
    summed = {image.group_name for image in images if image.digest in known or image.split == "train"}
    held_out = [
        image.group_name not in summed and (listing.declared or _is_held_out(image.group_name)) for image in images
    ]
    return SiteImages(
        summed=[image for image, out in zip(images, held_out, strict=True) if not out],
        held_out=[image for image, out in zip(images, held_out, strict=True) if out],
        notes=listing.notes,
    )


def _is_held_out(group: str) -> bool:
    digest = hashlib.sha256(group.encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:4]) < HELD_OUT * 2**32


class FeatureStore:
    """Numbers of images in a folder, a file for each image; a file that a power cut has damaged counts as missing.

    Args:
        folder: The folder; it is made.
        width: Number of float32 numbers of each image.
    """

    def __init__(self, folder: Path, width: int) -> None:
        make_directory(folder)
        self._folder, self._width = folder, width

    def load(self, digest: str) -> Features | None:
        """Return the numbers of an image, (width,) float32; None when they are not there."""
        try:
            content = (self._folder / digest).read_bytes()
        except FileNotFoundError:
            return None
        numbers, check = content[:-4], content[-4:]
        fits = len(numbers) == 4 * self._width and check == zlib.crc32(numbers).to_bytes(4)
        return np.frombuffer(numbers, np.float32) if fits else None

    def add(self, images: Sequence[LabelledImage], compute: Callable[[Sequence[LabelledImage]], Features]) -> int:
        """Compute and store the numbers of those images that have none; return how many these are."""
        missing = [image for image in images if self.load(image.digest) is None]
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            for image, row in zip(batch, compute(batch), strict=True):
                numbers = row.astype(np.float32).tobytes()
                content = numbers + zlib.crc32(numbers).to_bytes(4)
                write_atomically(self._folder / image.digest, content, durability="none", sole_writer=True)
        return len(missing)

    def keep(self, digests: Mapping[str, object]) -> None:
        """Remove the numbers of all other images."""
        for path in self._folder.iterdir():
            if path.name not in digests:
                path.unlink()

    def stack(self, digests: Sequence[str]) -> Features:
        """Return the numbers of images, (N, width) float32.

        Raises:
            RunError: When an image's numbers are not there.
        """
        rows = [row for digest in digests if (row := self.load(digest)) is not None]
        if len(rows) < len(digests):
            raise RunError(
                f"{len(digests) - len(rows)} images are gone that the last file of this site has, with their features "
                f"in {self._folder}, and too few others have changed to leave them out",
                hint="put the images back, or add or remove more images of their classes",
            )
        return np.stack(rows) if rows else np.zeros((0, self._width), np.float32)


class FederatedSite:
    """A site that sends sums and judgements; `open_site` makes one.

    Args:
        features: Features by the artifact that serves at the site.
        images: Folder of labelled images.
        folder: Folder of the site's files for this model.
        settings: Settings of the site.
        send: Sends an event; it returns only when the relay has it.
        say: Receives sentences for people.
        progress: Receives the steps of reading images.
    """

    def __init__(
        self,
        features: ArtifactFeatures,
        images: Path,
        folder: Path,
        settings: ReleaseSettings,
        *,
        send: Callable[[Event], object],
        say: Callable[[str], object],
        progress: TrainingProgress,
    ) -> None:
        self._features, self._folder, self._settings = features, folder, settings
        self._send, self._say = send, say
        self.name = name_model(features)
        origin = features.origin
        self._backbone = hashlib.sha256(f"{origin.recipe} {origin.backbone}".encode()).hexdigest()[:16]
        self._images = load_site_images(images, SentFile.load(self._path(FEDERATION_SUMS)).history, progress)
        for note in self._images.notes:
            say(note)

    def send_sums(self) -> None:
        """Send the sums of the site's images, if they have changed by enough images.

        Raises:
            DeliveryError: When the relay doesn't accept the file; the next call sends it again.
            RunError: When images are gone that are still needed.
        """
        last = self._deliver(FEDERATION_SUMS, SentFile.load(self._path(FEDERATION_SUMS)))
        settings, origin = self._settings, self._origin()
        files = last.find_files(self._backbone)
        current = {image.digest: (image.label, image.group_name) for image in self._images.summed}
        chosen = choose_images(current, last.history, files, settings.minimum)
        for label, count in sorted(chosen.waiting.items()):
            self._say(f"{label}: {count} added or removed images wait, because fewer than {settings.minimum} show too "
                      "much of each of them")  # fmt: skip
        before = find_released(last.history, files)
        if chosen.images.keys() == before.keys() and _labels(chosen.images) == _labels(before) and (
            last.origin == origin or not before
        ):  # fmt: skip
            self._say("the sums have not changed")
            return
        content = self._sum_up(chosen.images, last.epsilon + settings.epsilon)
        history = record(last.history, chosen.images, len(last.backbones))
        last = replace(last, origin=origin, history=history, backbones=(*last.backbones, self._backbone))
        last = replace(last, epsilon=last.epsilon + settings.epsilon).follow(content)
        self._save(FEDERATION_SUMS, last)
        self._deliver(FEDERATION_SUMS, last)
        self._say(f"sent the sums of {len(chosen.images)} images, {len(content) / 1e6:.1f} MB")
        if last.epsilon:
            self._say(f"all files of this site together have epsilon {last.epsilon:g}")

    def judge_head(self, fetch: Callable[[str, str], bytes | None]) -> None:
        """Judge the merged head on the images that are held out, and send the judgement unless it was sent before.

        Args:
            fetch: Function from a model's name and the digest of a known head to another head; None without one.

        Raises:
            DeliveryError: When the receiver or the relay doesn't answer.
            RunError: When the head is damaged.
        """
        last = self._deliver(FEDERATION_JUDGEMENT, SentFile.load(self._path(FEDERATION_JUDGEMENT)))
        file = self._folder / "head.npz"
        known = file.read_bytes() if file.exists() else b""
        content = fetch(self.name, hashlib.sha256(known).hexdigest() if known else "")
        if not (content or known):
            self._say("there is no merged head yet")
            return
        head = MergedHead.from_bytes(content or known, "the merged head")
        if content:
            write_atomically(file, content)
        if head.origin != self._features.origin:
            self._say("the merged head is not judged: it is for another backbone than the one that serves here")
            return
        if not self._images.held_out:
            self._say("the merged head is not judged: no images are held out")
            return
        judgement = self._judge(head, hashlib.sha256(content or known).hexdigest())
        if hashlib.sha256(judgement).hexdigest() == last.digest:
            self._say("the judgement of the merged head has not changed")
            return
        last = last.follow(judgement)
        self._save(FEDERATION_JUDGEMENT, last)
        self._deliver(FEDERATION_JUDGEMENT, last)
        self._say(f"sent a judgement on {len(self._images.held_out)} images, {len(judgement) / 1e3:.1f} kB")

    def _judge(self, head: MergedHead, digest: str) -> bytes:
        features, held_out, size = self._features, self._images.held_out, self._features.point.shape[1]
        folder = self._folder / "answers" / features.artifact.digest[:16]
        store = FeatureStore(folder, size + len(features.labels))
        store.add(held_out, lambda images: np.concatenate(features.compute_examples(images), axis=1))
        store.keep({image.digest: None for image in held_out})
        rows = store.stack([image.digest for image in held_out])
        names, _ = reconcile(Counter(image.label for image in held_out), head.labels, {})
        return judge(
            head,
            digest,
            rows[:, :size],
            rows[:, size:],
            features.labels,
            [names[image.label] for image in held_out],
            [image.group_name for image in held_out],
            features.artifact.digest,
        ).to_json()

    def _sum_up(self, images: Mapping[str, About], epsilon: float) -> bytes:
        """Return the content of a file of sums of images; `epsilon` is that of all files."""
        features, settings, size = self._features, self._settings, self._features.point.shape[1]
        store = FeatureStore(self._folder / "features" / self._backbone, size)
        files = [image for image in self._images.summed if image.digest in images]
        count = store.add(files, lambda batch: features.compute_examples(batch)[0])
        self._say(f"computed the features of {count} images")
        is_projected = self._origin().backbone != features.origin.backbone
        matrix = build_projection(size, settings.features) if is_projected else None
        shift = features.point if matrix is None else features.point @ matrix
        bound = float(np.linalg.norm(_measure(features.golden, features.point, matrix), axis=1).max())
        labels = sorted({label for label, _ in images.values()})  # noise would make images of any other class
        sums = FeatureSums.empty(labels, self._origin(), shift)
        ordered = sorted(images)
        for start in range(0, len(ordered), CHUNK):
            part = ordered[start : start + CHUNK]
            rows = _measure(store.stack(part), features.point, matrix)
            if settings.epsilon:
                lengths = np.linalg.norm(rows, axis=1, keepdims=True)
                rows *= np.minimum(1.0, bound / np.maximum(lengths, np.finfo(np.float64).tiny))
            sums = sums.add(rows + shift, np.array([labels.index(images[digest][0]) for digest in part], np.int64))
        sums = replace(sums, groups=len({group for _, group in images.values()}))
        store.keep(images)
        if not settings.epsilon:
            return sums.to_bytes(np.float32)
        random = np.random.default_rng(secrets.randbits(256))
        return add_noise(sums, bound, settings.epsilon, random).to_bytes(np.float32, epsilon=epsilon)

    def _origin(self) -> SumsOrigin:
        """Return what the features in the site's files are computed by."""
        origin, size = self._features.origin, self._settings.features
        is_projected = 0 < size < self._features.point.shape[1]
        return replace(origin, backbone=f"{origin.backbone}{PROJECTED}{size}") if is_projected else origin

    def _deliver(self, kind: str, file: SentFile) -> SentFile:
        """Send a file unless the relay has it, and record that the relay has it."""
        if not file.content:
            return file
        self._send(build_federation_event(self._settings.site, self.name, kind, file.sequence, file.content))
        file = replace(file, content=b"")
        self._save(kind, file)
        return file

    def _save(self, kind: str, file: SentFile) -> None:
        write_atomically(self._path(kind), file.to_bytes(), sole_writer=True)

    def _path(self, kind: str) -> Path:
        return self._folder / ("sums.npz" if kind == FEDERATION_SUMS else "judgement.npz")


def name_model(features: ArtifactFeatures) -> str:
    """Return the name of an artifact's model in events and at the receiver."""
    return build_name(features.artifact.manifest.name, "model")


@contextmanager
def open_site(
    features: ArtifactFeatures,
    images: Path,
    state: Path,
    settings: ReleaseSettings,
    *,
    send: Callable[[Event], object],
    say: Callable[[str], object],
    progress: TrainingProgress = SILENT,
) -> Iterator[FederatedSite]:
    """Open a site for one process at a time; `state` is the folder of all sites' files, the rest as for the class.

    Raises:
        DatasetError: The images can't be read, or one image is in two classes.
        RunError: What the site has sent is not known any more.
        StorageError: The folder can't be written.
    """
    folder = state / settings.site / name_model(features)
    with disk_errors(folder):
        make_directory(folder)
        with locked(folder / "lock"):
            yield FederatedSite(features, images, folder, settings, send=send, say=say, progress=progress)


def _labels(images: Mapping[str, About]) -> dict[str, str]:
    return {digest: label for digest, (label, _) in images.items()}


def _measure(rows: Features, point: Floats, matrix: Floats | None) -> Floats:
    """Return features, measured from a point, and projected if there is a matrix."""
    moved = rows.astype(np.float64) - point
    return moved if matrix is None else moved @ matrix
