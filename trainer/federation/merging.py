"""The head that is merged from the sums of many sites, in the folder that a receiver writes them to.

    federation/NAME/sums/SITE-SEQUENCE-DIGEST.npz          sums of all of a site's images; a higher sequence is newer
    federation/NAME/judgements/SITE-SEQUENCE-DIGEST.json   the site's judgement of a merged head
    federation/NAME/head.npz                               the merged head, which sites load
    federation/forgotten.json                              sites whose sums are never used again, with the times

Of each site, the newest file counts. So files may be lost, late, repeated or out of order, and the head is the same. A
file that can't be used is left out, and a line says why. Of a model that finds anomalies, the head is the merged sums.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from eaves.artifact.manifest import is_printable
from eaves.base.files import make_directory, remove_durably, write_atomically
from eaves.base.locks import locked
from eaves.base.strict_json import parse_json
from eaves.errors import RunError
from eaves.federation_events import HEAD, parse_file_name
from trainer.data.dataset import is_imbalanced, weigh_classes
from trainer.federation.head_file import MergedHead
from trainer.model.feature_sums import (
    STRENGTHS,
    FeatureSums,
    SumsOrigin,
    build_projection,
)

SUMS, JUDGEMENTS, FORGOTTEN = "sums", "judgements", "forgotten.json"
MIN_FEATURES = 64
"""Minimum number of projected features. All sums are projected to the smallest number, and one site must not reduce the
features of all others to nothing."""
MAX_MERGED_CLASSES = 2000
"""Maximum number of classes of all sites together; a judgement has a number for each pair of them."""
MAX_NUMBER = 1e18
"""Maximum absolute value in sums, whose square is still a float; sums of a million images are below 1e12."""
_SEPARATORS = re.compile(r"[\s_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Merging:
    """What a merging of sites' sums gives.

    Attributes:
        sums: The sums, whose classes have reconciled names; None while there are none.
        sites: Number of images in the sums of each site that are used.
        left_out: Sites whose newest sums can't be used.
        time_ms: Time of the newest sums, or of the last forgotten site, Unix milliseconds.
        missing: Classes of the base that no site has images of.
        lines: What a person should know: names that count as another one, files that are left out.
    """

    sums: FeatureSums | None
    sites: Mapping[str, int]
    left_out: Sequence[str]
    time_ms: int
    missing: tuple[str, ...]
    lines: tuple[str, ...]


def newest_by_site(folder: Path, forgotten: Collection[str] = ()) -> dict[str, Path]:
    """Return the newest file of each site that isn't forgotten, in order of the sites' names."""
    files = [
        (about.site, about.sequence, path)
        for path in folder.glob("*")
        if (about := parse_file_name(path.name)) and about.site not in forgotten
    ]
    return {site: path for site, _, path in sorted(files)}  # the last of each site stays


def read_file(path: Path) -> bytes:
    """Read a file of a site.

    Raises:
        RunError: When it can't be read, or is not what its name says.
    """
    about = parse_file_name(path.name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path.name} can't be read: {error.strerror}") from error
    if about is None or not hashlib.sha256(content).hexdigest().startswith(about.digest):
        raise RunError(f"{path.name} is damaged: its content differs from the digest in its name")
    return content


def merge_sites(
    folder: Path,
    origin: SumsOrigin,
    shape: tuple[int, ...],
    labels: Sequence[str],
    renames: Mapping[str, str] | None = None,
    *,
    is_diagonal: bool = False,
) -> Merging:
    """Merge the newest sums of all sites.

    Args:
        folder: Folder of the model, `federation/NAME`.
        origin: What the sums' features are computed by.
        shape: Number of positions, and of features at each.
        labels: Classes of the base, in whose order the head has them; further ones follow.
        renames: Name of a class at sites to the one that it counts as.
        is_diagonal: Whether files have only the products of each feature with itself, and of all features.

    Raises:
        RunError: When the list of forgotten sites can't be read.
    """
    forgotten = load_forgotten(folder.parent)
    files, lines, now = newest_by_site(folder / SUMS, forgotten), list[str](), time.time_ns() // 10**6
    merged, sites, newest = None, dict[str, int](), max(forgotten.values(), default=0)
    left_out = list[str]()
    for site, path in files.items():
        try:
            sums = _load(path, origin, shape, is_diagonal)
            known = {*sums.labels, *(merged.labels if merged else ())}
            if len(known) > MAX_MERGED_CLASSES:
                raise RunError(f"{path.name} would make {len(known)} classes; at most {MAX_MERGED_CLASSES} are allowed")
        except RunError as error:
            lines.append(f"{site} is left out: {error.message}")
            left_out.append(site)
            continue
        about = parse_file_name(path.name)
        sites[site] = round(float(sums.counts.sum()))
        if about is not None and about.sequence <= now:  # a site's later files follow one of a clock that was wrong
            newest = max(newest, about.sequence)
        if merged is not None:
            size = min(merged.shift.shape[1], sums.shift.shape[1])
            sums = merged.project(size).merge(sums.project(size))
        merged = sums
    found: tuple[str, ...] = ()
    if merged is not None:
        names, notes = reconcile(dict(zip(merged.labels, merged.counts.tolist(), strict=True)), labels, renames or {})
        merged, lines = _rename(merged, names, labels), [*lines, *notes]
        found, size = merged.labels, merged.shift.shape[1]
        if size < shape[1]:
            lines.append(f"the sums are projected to {size} of {shape[1]} features, the fewest of a site")
    missing = tuple(label for label in labels if label not in found)
    return Merging(sums=merged, sites=sites, left_out=left_out, time_ms=newest, missing=missing, lines=tuple(lines))


def _load(path: Path, origin: SumsOrigin, shape: tuple[int, ...], is_diagonal: bool) -> FeatureSums:
    """Load a file of sums, without classes that have no images.

    Raises:
        RunError: When it can't be used.
    """
    sums = FeatureSums.from_bytes(read_file(path), path.name, shape if is_diagonal else None)
    (positions, size), (wanted, features) = sums.shift.shape, shape
    if sums.origin != origin.project(size, features):
        raise RunError(f"{path.name} was computed by another artifact's backbone or recipe")
    if positions != wanted or not min(MIN_FEATURES, features) <= size <= features:
        raise RunError(f"{path.name} has {positions} x {size} features; the backbone gives {wanted} x {features}")
    sums = replace(sums, counts=np.where(sums.counts < 1, 0.0, sums.counts))  # a mean over less is of no use
    kept = [row for row, count in enumerate(sums.counts) if count > 0]
    if not kept:
        raise RunError(f"{path.name} has no images")
    if faulty := [sums.labels[row] for row in kept if not is_printable(sums.labels[row])]:
        raise RunError(f"{path.name} has a class whose name is empty, not printable or too long: {faulty[0][:80]!r}")
    if max(float(np.abs(one).max()) for one in (sums.shift, sums.counts, sums.totals, sums.products)) > MAX_NUMBER:
        raise RunError(f"{path.name} has numbers that no sum of features has")
    return sums.with_labels([sums.labels[row] for row in kept])


def reconcile(
    counts: Mapping[str, float], labels: Iterable[str], renames: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Find which names of classes mean the same, and under which name they count.

    Names that differ in case, surrounding space, `_`, `-` and space, or the form of Unicode mean the same, unless both
    are classes of the base. They count as the base's class, otherwise as the name with most images.

    Args:
        counts: Number of images by name.
        labels: Classes of the base.
        renames: Name to the one that it counts as in any case.

    Returns:
        names: Name that each name counts as.
        lines: A line for each name that counts as another one.
    """
    own, alike = set(labels), defaultdict[str, list[str]](list)
    for name in sorted({*counts, *own} - {*renames}, key=lambda name: (name not in own, -counts.get(name, 0), name)):
        alike[_normalize(name)].append(name)
    names = {}
    for name in counts:
        same = alike.get(_normalize(name), [name])
        names[name] = renames.get(name) or (name if name in own or len(own.intersection(same)) > 1 else same[0])
    lines = [
        f"the class {name!r} ({counts[name]:g} images) counts as {other!r}"
        for name, other in sorted(names.items())
        if name != other
    ]
    lines += [f"no site has a class {name!r} to rename" for name in sorted({*renames} - {*counts})]
    return names, lines


def _normalize(name: str) -> str:
    return _SEPARATORS.sub(" ", unicodedata.normalize("NFKC", name).casefold()).strip()


def _rename(sums: FeatureSums, names: Mapping[str, str], labels: Sequence[str]) -> FeatureSums:
    """Return sums whose classes have other names, some of them the same: first those of the base, in their order."""
    found = set(names.values())
    order = [*(label for label in labels if label in found), *sorted(found - {*labels})]
    of_name = np.zeros((len(order), len(sums.labels)))
    for row, label in enumerate(sums.labels):
        of_name[order.index(names[label]), row] = 1.0
    return replace(
        sums,
        labels=tuple(order),
        counts=of_name @ sums.counts,
        totals=np.tensordot(of_name, sums.totals, 1),
    )


def solve_head(sums: FeatureSums, features: int) -> MergedHead:
    """Solve the head of merged sums, of at least two classes, by the rules of a training from sums.

    Args:
        sums: The sums, which may be projected.
        features: Number of features before the projection.
    """
    counts = sums.counts.tolist()
    weights = weigh_classes(counts) if is_imbalanced(counts) else ()
    axes = sums.axes(np.array(weights) if weights else None)
    strength = axes.choose(STRENGTHS, sums.groups)
    # The difference of two scores is about a logit when it is divided by the variance of a score, as the scores of an
    # image's class and of others are 1 apart; judgements then measure a temperature near 1. The scores have the sum 1.
    variance = axes.estimate_error(strength, sums.groups) / (len(counts) - 1)
    head = axes.solve(strength).divide(float(np.clip(variance, 1e-3, 1.0)))
    if (size := len(head.kernel)) < features:
        head = replace(head, kernel=build_projection(features, size) @ head.kernel)
    return MergedHead(
        labels=sums.labels,
        origin=sums.origin.unprojected,
        head=head,
        label_weights=tuple(weight / max(weights) for weight in weights),
    )


def load_forgotten(folder: Path) -> dict[str, int]:
    """Return the forgotten sites with the Unix milliseconds at which they were.

    Raises:
        RunError: When the list can't be read: their sums must not be used.
    """
    path = folder / FORGOTTEN
    try:
        found = parse_json(path.read_bytes())
        return {str(site): int(found[site]) for site in found}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"the list of forgotten sites {path} can't be read: {error}") from error


def find_superseded(folder: Path) -> dict[Path, str]:
    """Return the files that no merging uses, with their sites: older ones than a site's newest, and a forgotten site's.

    Args:
        folder: Folder of the model, `federation/NAME`.

    Raises:
        RunError: When the list of forgotten sites can't be read.
    """
    found, forgotten = dict[Path, str](), load_forgotten(folder.parent)
    for place in (folder / SUMS, folder / JUDGEMENTS):
        files = [*place.glob("*")]  # before the newest are looked for, as more may arrive meanwhile
        newest = {*newest_by_site(place, forgotten).values()}
        for path in files:
            if (about := parse_file_name(path.name)) and path not in newest:
                found[path] = about.site
    return found


def forget_site(folder: Path, site: str) -> int:
    """Delete all files of a site, and the heads made of them, and remember that later files of it are not used.

    Args:
        folder: The folder `federation`.
        site: Name of the site.

    Returns:
        Number of the site's files that were deleted.

    Raises:
        RunError: When the list of forgotten sites can't be read.
        OSError: When a file can't be written or deleted.
    """
    make_directory(folder, mode=0o777)
    with locked(folder, folder=True):  # no collection uses the files meanwhile
        known = json.dumps({site: time.time_ns() // 10**6, **load_forgotten(folder)}, sort_keys=True)
        write_atomically(folder / FORGOTTEN, known, mode=None)  # first, so that no kill leaves files that may be used
        models = [find_superseded(path.parent) for path in folder.glob(f"*/{SUMS}")]
        files = [path for model in models for path, of in model.items() if of == site]
        for head in {path.parents[1] / HEAD for path in files}:
            remove_durably(head)  # it may be made of the site's sums; before these, so that a killed command finds it
        for path in files:
            remove_durably(path)
    return len(files)
