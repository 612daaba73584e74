"""Pictures of every page of the portal, as each role sees it: ``make screenshots``.

Starts a service of its own, fills it with phantoms made by code (never patients), walks the links
of each role, and takes every page at two widths and in both colour schemes. Names say role, page,
width and scheme, for looking at them one by one. With ``--guide`` it takes the pictures that the
docs show instead.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench import guide_pictures, service
from tests.browser.walk import pages
from tests.live import LiveService, wait_for
from tests.phantoms import bmode_phantom, dicom_bytes, jpeg_bytes, png_bytes

ROLES = ("radiologist", "sonographer", "admin", "approver", "auditor")
WIDTHS = {1440: 1000, 820: 1180}
SCHEMES = ("light", "dark")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--roles", nargs="+", choices=ROLES, default=ROLES)
    parser.add_argument("--guide", action="store_true", help="the pictures of the docs alone")
    arguments = parser.parse_args(argv)
    chromium = shutil.which("chromium")
    if chromium is None:
        print("screenshots: there is no chromium on this machine", file=sys.stderr)
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    with service.live() as found:
        fill(found)
        with chromium_at(chromium) as browser:
            if arguments.guide:
                print(f"{guide_pictures.take(found, browser, arguments.out)} pictures")
                return 0
            for role in arguments.roles:
                print(f"{role}: {take(found, role, arguments.out, browser)} pages", flush=True)
    return 0


@contextmanager
def chromium_at(path: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


def fill(found: LiveService) -> None:
    """Cases of every sort: answered, several images, a cine, refused, and one that waits."""
    noise = png_bytes(bmode_phantom(seed=1) * 0)
    cine = [bmode_phantom(seed=40 + n, lesion="benign") for n in range(6)]
    sent: list[tuple[dict[str, str], list[tuple[str, bytes]]]] = [
        (_about("P-1001", "A-1001", priority="urgent"), [("left.jpg", _phantom(11, "malignant"))]),
        (
            _about("P-1002", "A-1002", patient_name="Moreau^Claire", birth_date="1961-03-09"),
            [("one.jpg", _phantom(21, "benign")), ("two.jpg", _phantom(22, "malignant"))],
        ),
        (_about("P-1002", "A-1003"), [("later.jpg", _phantom(23, "benign"))]),
        (_about("P-1003", "A-1004", priority="stat"), [("black.png", noise)]),
        # What its header says of patient and study.
        ({}, [("cine.dcm", _cine(cine, "P-1004", "A-1005"))]),
    ]
    with found.api() as client:
        jobs = []
        for form, files in sent:
            answer = client.post(
                "/submissions/", data=form, files=[("file", (name, data)) for name, data in files]
            )
            if answer.is_error:
                raise RuntimeError(answer.text)
            jobs += [job["id"] for job in answer.json()["jobs"]]
        for job in jobs:
            wait_for(f"job {job}", partial(_finished, client, job), seconds=180, every=0.5)


def _finished(client: Any, job: str) -> Any:
    return client.get(f"/jobs/{job}/").json()["finished_at"]


def _about(patient: str, accession: str, **more: str) -> dict[str, str]:
    return {"patient_id": patient, "accession_number": accession, "laterality": "L", **more}


def _phantom(seed: int, lesion: Literal["benign", "malignant"]) -> bytes:
    return jpeg_bytes(bmode_phantom(seed=seed, lesion=lesion))


def _cine(frames: Sequence[Any], patient: str, accession: str) -> bytes:
    return dicom_bytes(np.stack(frames), patient_id=patient, accession=accession)


def take(found: LiveService, role: str, folder: Path, browser: Any) -> int:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    if role == ROLES[0]:
        page.goto(f"{found.url}/sign-in/")
        _shoot(page, folder / "anyone-sign-in")
    _sign_in(page, found, role)
    count = 0
    for kind in pages(page, found.url):
        _shoot(page, folder / f"{role}-{kind}")
        count += 1
    context.close()
    return count


def _sign_in(page: Any, found: LiveService, role: str) -> None:
    login = found.demo[role]
    page.goto(f"{found.url}/sign-in/")
    page.get_by_label("User name").fill(login["username"])
    page.get_by_label("Password", exact=True).fill(login["password"])
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("button", name="Sign out").wait_for()


def _shoot(page: Any, stem: Path) -> None:
    for width, height in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            path = stem.with_name(f"{stem.name}-{width}-{scheme}.png")
            page.screenshot(path=str(path), full_page=True, animations="disabled")


if __name__ == "__main__":
    sys.exit(main())
