"""Pictures of the console's pages, and the one in the README: `python -m tests.browser.screenshots OUT`."""

from __future__ import annotations

import argparse
import io
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PIL import Image

from eaves.spool import Spool
from tests.browser.addresses import page_rules
from tests.browser.driver.chromium import missing_part, open_browser
from tests.browser.plant import Photos, Plant, build_labels, build_plant, bury_events, list_runs, read_photos
from tests.browser.served import ServedConsole, serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT.parent / "shared" / "data" / "flowers" / "val"
WIDTHS = (360, 390, 1440)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
README_PICTURE = ROOT / "docs" / "console.png"
README_SIZE = (1180, 900)
README_COLOURS = 96

_log = logging.getLogger(__name__)


@contextmanager
def open_demo(photos: Photos, *, with_faults: bool = True) -> Iterator[tuple[ServedConsole, Plant]]:
    """Serve the console of a packing line.

    Args:
        photos: Photos that the cameras take, by label; empty: drawn images.
        with_faults: Whether the cloud can't be reached, and names attack the page.
    """
    plant = build_plant(200, photos=photos, link_up=not with_faults, with_hostile_names=with_faults)
    with tempfile.TemporaryDirectory(prefix="eaves-") as folder, Spool(Path(folder) / "spool.db") as spool:
        plant.backend.named_queues["broker"] = bury_events(spool)
        plant.backend.known_runs = list_runs(Path(folder))
        plant.backend.labels, plant.backend.jobs = build_labels(Path(folder))
        with serve(plant) as console:
            yield console, plant


def take_all(browser: Browser, out: Path, photos: Photos) -> None:
    """Write a picture of every page, in each width and colour scheme."""
    with open_demo(photos) as (console, plant):
        for endpoint in [rule.endpoint for rule in page_rules()]:
            for scheme in SCHEMES:
                page = browser.new_page(color_scheme=scheme, locale="en-GB", timezone_id="UTC")
                page.goto(console.url_of(endpoint, plant))
                for width in WIDTHS:
                    page.set_viewport_size({"width": width, "height": 900})
                    page.wait_for_function(
                        "() => [...document.images].every((one) => one.loading === 'lazy' || one.complete)"
                    )
                    path = out / f"{endpoint.replace('.', '-')}-{width}-{scheme}.png"
                    page.screenshot(path=path, full_page=True)
                    _log.info("%s", path)
                page.close()


def take_readme_picture(browser: Browser, path: Path, photos: Photos) -> None:
    """Write the first screen with few colours, so that the file is small."""
    with open_demo(photos, with_faults=False) as (console, _):
        width, height = README_SIZE
        page = browser.new_page(viewport={"width": width, "height": height}, locale="en-GB", timezone_id="UTC")
        page.goto(console.url)
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        page.close()
    # This method keeps the colours of small signs.
    picture.quantize(README_COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
    _log.info("%s: %d bytes", path, path.stat().st_size)


def main() -> None:
    """Write the pictures; exit with a message when a part is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("out", type=Path, help="folder that the pictures are written to")
    parser.add_argument("--readme", action="store_true", help=f"also write {README_PICTURE.relative_to(ROOT)}")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if missing := missing_part():
        parser.exit(1, f"error: {missing}\n")
    photos = read_photos(PHOTOS) if PHOTOS.is_dir() else {}
    options.out.mkdir(parents=True, exist_ok=True)
    with open_browser() as browser:
        take_all(browser, options.out, photos)
        if options.readme:
            take_readme_picture(browser, README_PICTURE, photos)


if __name__ == "__main__":
    main()
