"""The picture under the hand: zoomed, inverted, played and measured, by mouse, keys and touch."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from django.conf import settings
from django.test import Client
from PIL import Image as Raster

from cases.models import Case, Job, Site
from tests.browser.conftest import Watched, running_chromium, watched
from tests.browser.test_accessibility import violations
from tests.factories import make_user, stored_result, submit
from tests.live import wait_for
from tests.phantoms import bmode_phantom, dicom_bytes, region
from tests.portal.pages import url_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

FRAMES, HEIGHT, WIDTH, MM = 12, 240, 300, 0.2


def answered_cine() -> Case:
    """A calibrated cine with an answer for the frame that intake chose."""
    frames = np.stack([bmode_phantom(seed=n, size=(HEIGHT, WIDTH)) for n in range(FRAMES)])
    whole = region((0, 0, WIDTH - 1, HEIGHT - 1), mm_per_pixel=MM)
    submission = submit(files=[dicom_bytes(frames, regions=[whole])], patient_id="")
    stored_result(submission.jobs.get(), 0.7)
    return submission.case


@contextmanager
def window_of(server: Any, site: Site, **options: Any) -> Iterator[Watched]:
    """A radiologist's browser on a server in this process: nobody has to compute anything.

    Playwright's loop in this thread would look like async code to Django, so what is to be in the
    database is there before, and looked at after.
    """
    client = Client()
    client.force_login(make_user(roles=["radiologist"], site=site))
    name = settings.SESSION_COOKIE_NAME
    before = set(threading.enumerate())
    cookie = {"name": name, "value": client.cookies[name].value, "url": server.url}
    with running_chromium() as browser:
        context = browser.new_context(viewport={"width": 1440, "height": 1000}, **options)
        context.add_cookies([cookie])
        window = watched(context.new_page(), SimpleNamespace(url=server.url))
        yield window
        context.close()
    # What it still asked for would be noted in the database of the next test.
    wait_for("the server to be done", lambda: not answering(before))
    assert window.faults == []


def answering(before: set[threading.Thread]) -> list[threading.Thread]:
    """The server's threads that answer a connection, but those there were before."""
    fresh = set(threading.enumerate()) - before
    return [thread for thread in fresh if "process_request_thread" in thread.name]


def zoom_of(page: Any) -> float:
    """How large the picture is drawn, as the browser has laid it out."""
    matrix = page.locator(".stage-layers").evaluate("e => getComputedStyle(e).transform")
    return float(re.findall(r"[-\d.]+", matrix)[0]) if matrix != "none" else 1.0


def grey_in_the_middle(page: Any) -> float:
    box = page.locator(".stage-picture").bounding_box()
    middle = {"x": box["x"] + box["width"] / 2 - 40, "y": box["y"] + box["height"] / 2 - 40}
    shot = page.screenshot(clip={**middle, "width": 80, "height": 80})
    return float(np.asarray(Raster.open(io.BytesIO(shot)).convert("L")).mean())


def at(page: Any, x: float, y: float) -> tuple[float, float]:
    """Where a pixel of the frame is on the screen, reckoned here and not by the page."""
    box = page.locator(".stage-layers").bounding_box()
    scale = min(box["width"] / WIDTH, box["height"] / HEIGHT)
    left = box["x"] + (box["width"] - WIDTH * scale) / 2
    top = box["y"] + (box["height"] - HEIGHT * scale) / 2
    return left + x * scale, top + y * scale


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=4)
    page.mouse.up()


def test_the_picture_is_zoomed_inverted_played_and_measured(live_server: Any) -> None:
    case = answered_cine()
    with window_of(live_server, case.site) as window:
        page = window.page
        window.goto(url_of(case))
        zoomed_and_moved(page)
        grey_levels(page)
        played(page)
        measured(page)
        window.picture("viewer-measured")
        heated(page)
        found = violations(window, "viewer")
        full_screen(page)
        pinched(page)
        page.get_by_label("Frame", exact=True).focus()
        page.keyboard.press("End")
        page.get_by_role("button", name=f"Read frame {FRAMES} with the model").click()
        page.get_by_text("Asked for a new reading.").wait_for()
    assert found == []
    assert Job.objects.get(state="PENDING").frame == FRAMES - 1


def zoomed_and_moved(page: Any) -> None:
    picture = page.get_by_role("group", name="Look at image 1")
    page.get_by_role("button", name="Zoom in").click()
    assert zoom_of(page) == pytest.approx(1.25)
    assert page.get_by_label("Zoom", exact=True).inner_text() == "125 %"
    # The wheel belongs to the page until the picture has the focus.
    middle = at(page, WIDTH / 2, HEIGHT / 2)
    page.mouse.move(*middle)
    page.mouse.wheel(0, -100)
    assert zoom_of(page) == pytest.approx(1.25)
    page.evaluate("window.scrollTo(0, 0)")
    picture.focus()
    page.mouse.move(*at(page, WIDTH / 2, HEIGHT / 2))
    page.mouse.wheel(0, -100)
    wait_for("the zoom", lambda: page.locator(".zoom-value").inner_text() == "156 %")
    start = at(page, 150, 120)
    drag(page, start, (start[0] - 60, start[1] - 30))
    moved = at(page, 150, 120)
    assert (moved[0] - start[0], moved[1] - start[1]) == pytest.approx((-60, -30), abs=1)
    page.keyboard.press("ArrowLeft")
    assert at(page, 150, 120)[0] - moved[0] == pytest.approx(40, abs=1)
    page.keyboard.press("0")
    assert zoom_of(page) == 1


def grey_levels(page: Any) -> None:
    picture = page.get_by_role("group", name="Look at image 1")
    plain = grey_in_the_middle(page)
    picture.focus()
    page.keyboard.press("i")
    assert page.get_by_role("button", name="Invert").get_attribute("aria-pressed") == "true"
    assert grey_in_the_middle(page) == pytest.approx(255 - plain, abs=3)
    page.keyboard.press("i")
    page.get_by_text("Window, level and keys").click()
    page.get_by_label("Level", exact=True).focus()
    page.keyboard.press("Home")
    # Everything is above level 0: half the window lies below it.
    assert grey_in_the_middle(page) > plain + 80
    page.get_by_label("Window", exact=True).nth(0).check()
    start = at(page, 150, 120)
    drag(page, start, (start[0] - 50, start[1] + 60))
    assert page.locator(".grey-window-value").inner_text() == "205"
    assert page.locator(".grey-level-value").inner_text() == "30"
    page.get_by_role("button", name="Reset").click()
    assert grey_in_the_middle(page) == pytest.approx(plain, abs=1)
    page.get_by_role("button", name="Invert").click()


def played(page: Any) -> None:
    page.get_by_role("button", name="Invert").click()
    words = page.locator(".cine-words")
    first = int(re.findall(r"\d+", words.inner_text())[0])
    assert words.inner_text() == f"Frame {first} of {FRAMES}, read by the model"
    page.get_by_role("group", name="Look at image 1").focus()
    page.keyboard.press(".")
    step = first % FRAMES + 1
    page.get_by_role("heading", name=f"Image 1, frame {step} of {FRAMES}").wait_for()
    assert page.locator(".stage-image").get_attribute("src").startswith("blob:")
    expected = bmode_phantom(seed=step - 1, size=(HEIGHT, WIDTH))
    assert np.array_equal(pixels_of(page), expected)
    page.get_by_label("Frame", exact=True).focus()
    page.keyboard.press("Home")
    page.get_by_role("heading", name=f"Image 1, frame 1 of {FRAMES}").wait_for()
    page.get_by_role("button", name="Play").click()
    for frame in (3, 6):
        wait_for(f"frame {frame}", lambda least=frame: frame_of(page) >= least)
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name=f"Read: frame {first}").click()
    page.get_by_role("heading", name=f"Image 1, frame {first} of {FRAMES}").wait_for()


def frame_of(page: Any) -> int:
    return int(page.locator(".cine-slider").input_value())


def pixels_of(page: Any) -> Any:
    """The grey levels of the frame that is shown."""
    levels = page.locator(".stage-image").evaluate(
        """async (image) => {
          await image.decode();
          const canvas = document.createElement("canvas");
          [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
          const pen = canvas.getContext("2d");
          pen.drawImage(image, 0, 0);
          return [...pen.getImageData(0, 0, canvas.width, canvas.height).data]
            .filter((_, n) => n % 4 === 0);
        }"""
    )
    return np.array(levels, dtype=np.uint8).reshape(HEIGHT, WIDTH)


def measured(page: Any) -> None:
    page.get_by_role("group", name="Look at image 1").focus()
    page.keyboard.press("+")
    page.keyboard.press("m")
    lengths = page.get_by_role("list", name="Lengths").get_by_role("listitem")
    drag(page, at(page, 100, 80), at(page, 200, 80))
    assert millimetres(lengths.nth(0)) == pytest.approx(100 * MM, abs=0.2)
    page.mouse.click(*at(page, 120, 100))
    page.mouse.click(*at(page, 120, 150))
    assert millimetres(lengths.nth(1)) == pytest.approx(50 * MM, abs=0.2)
    for key in ("Enter", *["ArrowRight"] * 5, "Shift+ArrowRight", "Enter"):
        page.keyboard.press(key)
    assert millimetres(lengths.nth(2)) == pytest.approx(51 * MM, abs=0.05)
    assert page.locator(".stage-lines text").count() == 3
    page.get_by_role("button", name="Delete length 2").click()
    page.keyboard.press("Delete")
    assert lengths.count() == 1
    # A length belongs to its frame.
    page.get_by_role("button", name="One frame on").click()
    wait_for("a frame without lengths", lambda: page.locator(".stage-lines text").count() == 0)
    page.get_by_role("button", name="One frame back").click()
    wait_for("its own frame", lambda: page.locator(".stage-lines text").count() == 1)


def millimetres(item: Any) -> float:
    return float(re.findall(r": ([\d.]+) mm", item.inner_text())[0])


def heated(page: Any) -> None:
    # In the hand of the caliper it is an application, so that arrows reach it.
    page.get_by_role("application", name="Look at image 1").focus()
    page.keyboard.press("v")
    page.get_by_role("group", name="Look at image 1").focus()
    page.keyboard.press("h")
    assert page.get_by_label("Show heatmap").is_checked()
    heat = page.locator("img.heat")
    heat.wait_for()
    with page.expect_response("**/heatmap/?class=benign"):
        page.locator(".heat-class").select_option("benign")
    assert "for the benign score" in page.locator(".heat-words").inner_text()
    page.get_by_label("Opacity").fill("40")
    assert heat.evaluate("e => getComputedStyle(e).opacity") == "0.4"
    page.get_by_role("button", name="One frame on").click()
    page.get_by_text("There is no heatmap of this frame.").wait_for()
    assert not heat.is_visible()
    page.get_by_role("button", name="One frame back").click()
    heat.wait_for()
    page.get_by_label("Show heatmap").uncheck()


def full_screen(page: Any) -> None:
    button = page.get_by_role("button", name="Full screen")
    button.click()
    wait_for("the full screen", lambda: is_full(page))
    assert button.get_attribute("aria-pressed") == "true"
    page.mouse.move(*at(page, 150, 120))
    page.mouse.wheel(0, -100)
    button.click()
    wait_for("the page again", lambda: not is_full(page))


def is_full(page: Any) -> bool:
    return bool(page.evaluate("document.fullscreenElement !== null"))


def pinched(page: Any) -> None:
    """Two fingers on a touch screen, which begin 80 pixels apart and end 160 apart."""
    page.get_by_role("button", name="Reset").click()
    page.evaluate("document.querySelector('.stage-picture').scrollIntoView({block: 'center'})")
    touch = page.context.new_cdp_session(page)
    x, y = at(page, WIDTH / 2, HEIGHT / 2)

    def fingers(kind: str, *apart: float) -> None:
        points = [
            {"x": x + sign * half, "y": y, "id": n}
            for half in apart
            for n, sign in enumerate((-1, 1))
        ]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", 40)
    for half in (50, 60, 70, 80):
        fingers("touchMove", half)
    fingers("touchEnd")
    assert zoom_of(page) == pytest.approx(2, abs=0.1)
