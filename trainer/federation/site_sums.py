"""A site's part in a model of many sites: it sends sums over its images, then its judgement of the merged head.

    sums.npz, judgements.npz   the last file of each kind: its number, its content until the relay has it, and the
                               images of this and of earlier files; written before the first byte is sent
    features/BACKBONE/         features of the images of the last file, so that a changed class can be summed again, in
                               one file for each first byte of the images' digests
    head.npz                   the merged head that was judged last

A file has the sums of all released images, so a lost one costs nothing. A process that is killed at any point sends the
same bytes with the same number again. The folder stays at the site.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np

from eaves.base.disk_errors import disk_errors
from eaves.base.files import make_directory, write_atomically
from eaves.base.locks import locked
from eaves.base.names import build_name
from eaves.errors import DatasetError, RunError
from eaves.events import Event
from eaves.federation_events import FEDERATION_JUDGEMENT, FEDERATION_SUMS, HEAD, KINDS, build_federation_event
from trainer.data.dataset import name_groups, read_once
from trainer.data.groups import group_copies, join_piles
from trainer.data.listing import LabelledImage, Listing, check_not_loose, judge_as_anomalies, load_listing
from trainer.data.pixels import read_tensor
from trainer.federation.artifact_features import BACKBONE, ArtifactFeatures
from trainer.federation.head_file import MergedHead
from trainer.federation.judgement import SiteJudgement, judge, judge_anomalies
from trainer.federation.merging import reconcile
from trainer.federation.privacy import (
    MINIMUM,
    About,
    History,
    ReleasedImage,
    add_noise,
    choose_images,
    find_labels,
    find_released,
    record,
)
from trainer.model.feature_cache import prefetch, read_shard
from trainer.model.feature_sums import (
    DAMAGED,
    Features,
    FeatureSums,
    Floats,
    SumsOrigin,
    build_projection,
    parse_arrays,
    parse_origin,
    render_arrays,
)
from trainer.progress import SILENT
from trainer.storage import open_store

HELD_OUT = 0.2
"""Share of the groups of images that are held out and never summed, unless the data declare the split."""
LATE = "; the last file was sent only now"
"""What is said besides where an earlier run could not send its file."""
BATCH = 8
"""Number of images that one thread judges at a time."""


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
        backbones: For each file, in their order, what computed its features, and what its origin calls them: other
            projections or products of the same features show nothing else.
        history: What was in these files.
        epsilon: Sum of the epsilons of all files.
    """

    sequence: int = 0
    digest: str = ""
    content: bytes = b""
    backbones: tuple[tuple[str, str], ...] = ()
    history: History = field(default_factory=dict)
    epsilon: float = 0.0

    def to_bytes(self) -> bytes:
        """Return the content of the file that keeps it at the site."""
        about = {name: getattr(self, name) for name in ("sequence", "digest", "backbones", "epsilon")}
        history = [(*key, one.group, f"{one.files:x}") for key, one in sorted(self.history.items())]
        content = np.frombuffer(self.content, np.uint8)
        return render_arrays({**about, "history": history}, content=content)

    @classmethod
    def load(cls, path: Path) -> SentFile:
        """Load the last file of one kind; one without a number when there is none yet.

        Raises:
            RunError: When the site's record of it is damaged.
        """
        if not path.exists():
            return cls()
        try:
            about, arrays = parse_arrays(path.read_bytes(), ("content",))
            return cls(
                sequence=about["sequence"],
                digest=about["digest"],
                content=arrays["content"].tobytes(),
                backbones=tuple((backbone, name) for backbone, name in about["backbones"]),
                history={
                    (digest, label): ReleasedImage(group=group, files=int(files, 16))
                    for digest, label, group, files in about["history"]
                },
                epsilon=about["epsilon"],
            )
        except DAMAGED as error:
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


def load_site_images(folder: Path, history: History, good: str = "") -> SiteImages:
    """Load a site's labelled images. Those of a group are on one side; that of a group with summed images is fixed.

    Args:
        folder: Folder with one subfolder per class, or with photos and `labels.csv`; its audit sample is left out.
        history: What was in earlier files.
        good: Name of the class of good images, if all others are anomalous and only judge.

    Raises:
        DatasetError: The folder can't be read, one image is in two classes, or no class is the good one.
    """
    listing = load_listing(folder)
    check_not_loose(listing)
    listing = _judge_by(listing, good) if good else listing
    images = [image for image in read_once(listing, [], SILENT) if not image.fault]
    groups = join_piles(group_copies(images, "similar", SILENT).groups, images)
    names, _ = name_groups(images, groups, "")
    images = [replace(image, group=name, look=None) for image, name in zip(images, names, strict=True)]
    known = {digest for digest, _ in history}
    summed = {image.group_name for image in images if image.digest in known or image.split == "train"}

    def is_held_out(image: LabelledImage) -> bool:
        if image.only_judges or image.group_name in summed:
            return image.only_judges
        digest = hashlib.sha256(image.group_name.encode(errors="surrogateescape")).digest()
        return listing.declared or int.from_bytes(digest[:4]) < HELD_OUT * 2**32

    return SiteImages(
        summed=[image for image in images if not is_held_out(image)],
        held_out=[image for image in images if is_held_out(image)],
        notes=listing.notes,
    )


def _judge_by(listing: Listing, good: str) -> Listing:
    """Return a listing of normal and anomalous images, where the good class may be in another form of its name."""
    names, notes = reconcile(Counter(one.label for one in listing.entries), (good,), {})
    if good not in names.values():
        raise DatasetError(
            f"no image under {listing.root} has the class {good}, only {', '.join(sorted(names)) or 'none'}",
            hint=f"put the photos of good parts into the folder {good}",
        )
    entries = tuple(replace(one, label=names[one.label]) for one in listing.entries)
    return judge_as_anomalies(replace(listing, entries=entries, notes=(*listing.notes, *notes)), good)


@dataclass(frozen=True, slots=True, kw_only=True)
class FederatedSite:
    """A site that sends sums and judgements.

    Attributes:
        features: Features by the artifact that serves at the site.
        images: Folder of labelled images.
        state: Folder of all sites' files.
        settings: Settings of the site.
        send: Sends an event; it returns only when the relay has it.
        say: Receives sentences for people.
    """

    features: ArtifactFeatures
    images: Path
    state: Path
    settings: ReleaseSettings
    send: Callable[[Event], object]
    say: Callable[[str], object]

    @property
    def name(self) -> str:
        """Name of the model in events and at the receiver."""
        return build_name(self.features.artifact.manifest.name, "model")

    @property
    def folder(self) -> Path:
        """Folder of the site's files for this model."""
        return self.state / self.settings.site / self.name

    @property
    def origin(self) -> SumsOrigin:
        """What the features in the site's files are computed by."""
        features = self.features.point.shape[1]
        return self.features.origin.project(self.settings.features or features, features)

    @property
    def backbone(self) -> str:
        """Digest of what computes the features, whatever is summed of them."""
        weights = self.features.artifact.manifest.files[BACKBONE].sha256
        return hashlib.sha256(f"{self.features.origin.recipe} {weights}".encode()).hexdigest()[:16]

    def run(self, fetch: Callable[[str, str], bytes | None] | None = None) -> None:
        """Send the sums of the site's images, and then the judgement of the merged head, if they have changed.

        One process at a time does so.

        Args:
            fetch: Function from a model's name and the digest of a known head to another head, which is None without
                one; None sends no judgement.

        Raises:
            DatasetError: The images can't be read, or one image is in two classes.
            DeliveryError: The receiver or the relay doesn't answer; the next call sends the same bytes again.
            RunError: What the site has sent is not known any more, images that are needed are gone, or the head is
                damaged.
            StorageError: The folder can't be written.
        """
        with disk_errors(self.folder):
            make_directory(self.folder)
            with locked(self.folder / "lock"):
                history, rule = SentFile.load(self._path(FEDERATION_SUMS)).history, self.features.rule
                images = load_site_images(self.images, history, rule.good if rule else "")
                for note in images.notes:
                    self.say(note)
                self._send_sums(images)
                if fetch is not None:
                    self._judge_head(images.held_out, fetch)

    def _send_sums(self, found: SiteImages) -> None:
        last = self._deliver(FEDERATION_SUMS)
        settings = self.settings
        files = sum(1 << number for number, (one, _) in enumerate(last.backbones) if one == self.backbone)
        current = {image.digest: (image.label, image.group_name) for image in found.summed}
        chosen = choose_images(current, last.history, files, settings.minimum)
        for label, count in sorted(chosen.waiting.items()):
            self.say(f"{label}: {count} added or removed images wait, because fewer than {settings.minimum} show too "
                     "much of each of them")  # fmt: skip
        before = find_released(last.history, files)
        own = self.backbone, self.origin.backbone
        if find_labels(chosen.images) == find_labels(before) and (last.backbones[-1:] == (own,) or not before):
            self.say(f"the sums have not changed{LATE if last.content else ''}")
            return
        epsilon = last.epsilon + settings.epsilon
        content = self._sum_up(chosen.images, found.summed, epsilon)
        history = record(last.history, chosen.images, len(last.backbones))
        last = replace(last, history=history, backbones=(*last.backbones, own), epsilon=epsilon)
        self._hand_over(FEDERATION_SUMS, last, content)
        self.say(f"sent the sums of {len(chosen.images)} images, {len(content) / 1e6:.1f} MB; "
                 f"held out: {len(found.held_out)}")  # fmt: skip
        if epsilon:
            self.say(f"all files of this site together have epsilon {epsilon:g}")

    def _judge_head(self, held_out: Sequence[LabelledImage], fetch: Callable[[str, str], bytes | None]) -> None:
        last = self._deliver(FEDERATION_JUDGEMENT)
        file = self.folder / HEAD
        known = file.read_bytes() if file.exists() else b""
        found = fetch(self.name, hashlib.sha256(known).hexdigest() if known else "")
        if not (content := found or known):
            self.say("there is no merged head yet")
            return
        if found:
            write_atomically(file, found)
        try:
            about, _ = parse_arrays(content, ())
            origin = parse_origin(about)
        except DAMAGED as error:
            raise RunError(f"the merged head is damaged: {str(error)[:200]}") from error
        if origin.unprojected != self.features.origin:  # it may also be one of the other task
            self.say("the merged head is not judged: it is for another backbone than the one that serves here")
            return
        if not held_out:
            self.say("the merged head is not judged: no images are held out")
            return
        parse = self.features.parse_sums if self.features.rule else MergedHead.from_bytes
        head = parse(content, "the merged head")
        judgement = self._judge(head, hashlib.sha256(content).hexdigest(), held_out).to_json()
        if hashlib.sha256(judgement).hexdigest() == last.digest:
            self.say(f"the judgement of the merged head has not changed{LATE if last.content else ''}")
            return
        self._hand_over(FEDERATION_JUDGEMENT, last, judgement)
        self.say(f"sent a judgement on {len(held_out)} images, {len(judgement) / 1e3:.1f} kB")

    def _judge(self, head: MergedHead | FeatureSums, digest: str, held_out: Sequence[LabelledImage]) -> SiteJudgement:
        features, serving = self.features, self.features.artifact.digest
        if isinstance(head, MergedHead):  # one image of each group, as the others are no further evidence
            held_out = [*{(image.label, image.group_name): image for image in held_out}.values()]

        def compute(start: int) -> tuple[Features, Features]:
            return features.compute(read_tensor(one, features.recipe) for one in held_out[start : start + BATCH])

        parts = prefetch(compute, range(0, len(held_out), BATCH))
        if isinstance(head, FeatureSums):
            scorer = features.fit(head)
            truth, groups = ([getattr(image, name) for image in held_out] for name in ("label", "group_name"))
            found = [(scorer.score(rows).max(axis=1), logits.argmax(axis=1)) for rows, logits in parts]
            scores, alarms = (np.concatenate(part) for part in zip(*found, strict=True))
            return judge_anomalies(digest, scores, alarms, truth, groups, serving)
        rows, logits = (np.concatenate(part) for part in zip(*parts, strict=True))
        names, _ = reconcile(Counter(image.label for image in held_out), head.labels, {})
        truth = [names[image.label] for image in held_out]
        return judge(head, digest, rows, logits, features.labels, truth, serving)

    def _sum_up(self, images: Mapping[str, About], summed: Sequence[LabelledImage], epsilon: float) -> bytes:
        """Return the content of a file of sums of images; `epsilon` is that of all files."""
        features, settings, origin = self.features, self.settings, self.origin
        width = features.point.shape[1]
        matrix = build_projection(width, settings.features) if origin != features.origin else np.eye(width)
        shift = features.point @ matrix
        bound = float(_measure_lengths(_measure(features.golden, features.point, matrix)).max())
        labels = sorted({label for label, _ in images.values()})  # noise would make images of any other class
        sums = FeatureSums.empty(labels, origin, shift)
        for part, numbers in self._load_features(sorted(images), summed):
            rows = _measure(numbers, features.point, matrix)
            if settings.epsilon:
                rows *= np.minimum(1.0, bound / np.maximum(_measure_lengths(rows), np.finfo(np.float64).tiny))
            truth = [labels.index(images[digest][0]) for digest in part]
            sums = sums.add(rows + shift, np.array(truth, np.int64))
        sums = replace(sums, groups=len({group for _, group in images.values()}))
        if settings.epsilon:
            sums = add_noise(sums, bound, settings.epsilon, np.random.default_rng(secrets.randbits(256)))
        return sums.to_bytes(np.float32, is_diagonal=features.is_diagonal, epsilon=epsilon)

    def _load_features(
        self, digests: Sequence[str], images: Sequence[LabelledImage]
    ) -> Iterator[tuple[Sequence[str], Features]]:
        """Yield digests and features, (N, P * D) float32, of the images of one file at a time, in their order.

        What is missing in the site's folder is computed, and what is of none of the images is removed from it.

        Args:
            digests: Digests of the images, sorted.
            images: Images that there are now.

        Raises:
            RunError: When features are missing, and the image is gone.
        """
        store = self.folder / "features" / self.backbone
        cache, files = open_store(store), {image.digest: image for image in images}
        parts = {f"{first}.npz": [*part] for first, part in groupby(digests, itemgetter(slice(2)))}
        found = {*cache.list()}

        def load(name: str) -> tuple[Sequence[str], Features]:
            part, like = parts[name], np.empty((0, self.features.point.size), np.float32)
            known = dict(zip(*read_shard(cache, name, like), strict=True)) if name in found else {}
            missing = [digest for digest in part if digest not in known]
            if gone := [digest for digest in missing if digest not in files]:
                raise RunError(
                    f"images such as {gone[0][:12]} are gone that the last file of this site has, with their features "
                    f"in {store}, and too few others have changed to leave them out",
                    hint="put the images back, or add or remove more images of their classes",
                )
            tensors = (read_tensor(files[digest], self.features.recipe) for digest in missing)
            is_changed = missing or len(known) > len(part)
            known.update(zip(missing, self.features.compute(tensors)[0], strict=True))
            rows = np.stack([known[digest] for digest in part])
            if is_changed:
                cache.write_arrays(name, digests=np.array(part), values=rows)
            return part, rows

        yield from prefetch(load, parts)
        for name in found - parts.keys():
            cache.delete(name)

    def _hand_over(self, kind: str, file: SentFile, content: bytes) -> None:
        """Write down a new file, which follows an earlier one, and then send it."""
        sequence = max(file.sequence + 1, time.time_ns() // 1_000_000)
        digest = hashlib.sha256(content).hexdigest()
        self._save(kind, replace(file, sequence=sequence, content=content, digest=digest))
        self._deliver(kind)

    def _deliver(self, kind: str) -> SentFile:
        """Send the last file of a kind unless the relay has it, and record that the relay has it.

        Returns:
            file: The file, with its content only if it was sent now.
        """
        file = SentFile.load(self._path(kind))
        if file.content:
            self.send(build_federation_event(self.settings.site, self.name, kind, file.sequence, file.content))
            self._save(kind, replace(file, content=b""))
        return file

    def _save(self, kind: str, file: SentFile) -> None:
        write_atomically(self._path(kind), file.to_bytes(), sole_writer=True)

    def _path(self, kind: str) -> Path:
        return self.folder / f"{KINDS[kind].folder}.npz"


def _measure(rows: Features, point: Floats, matrix: Floats) -> Floats:
    """Return features, (N, P, M), measured from a point and projected."""
    return np.asarray((rows.reshape(len(rows), *point.shape).astype(np.float64) - point) @ matrix)


def _measure_lengths(rows: Floats) -> Floats:
    """Return the norm of each image's features at all positions together, (N, 1, 1)."""
    return np.asarray(np.linalg.norm(rows, axis=(1, 2), keepdims=True))
