"""The page in a real browser."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from mmgen.gallery import image_page, render
from tests.gallery.fake import material

BROWSER = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
        if (found := shutil.which(name))
    ),
    None,
)
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(BROWSER is None, reason="no Chromium here")]

# Runs before everything else of the page, and reports what a person would see when all is loaded.
PROBE = """<script>
const errors = [];
addEventListener("error", (event) => errors.push(String(event.message || event.target.outerHTML.slice(0, 80))), true);
addEventListener("securitypolicyviolation", (event) => errors.push(event.blockedURI));
addEventListener("load", () => {
  const images = [...document.images];
  const slider = document.querySelector(".player input");
  const at = (pass) => {
    if (slider) { slider.value = pass; slider.dispatchEvent(new Event("input")); }
    return [...document.querySelectorAll(".film")].map((film) => {
      const [box, picture] = [film.getBoundingClientRect(), film.querySelector("img").getBoundingClientRect()];
      return { frame: Math.round((box.top - picture.top) / box.height), frames: Math.round(picture.height / box.height),
               told: film.parentElement.querySelector(".now").textContent };
    });
  };
  document.documentElement.dataset.report = JSON.stringify({
    errors,
    images: images.length,
    broken: images.filter((image) => !(image.complete && image.naturalWidth > 0)).map((image) => image.alt),
    hidden: images.filter((image) => !image.closest("details") && image.getBoundingClientRect().width < 20).length,
    wide: document.documentElement.scrollWidth - innerWidth,
    running: document.getAnimations().length,
    player: !document.querySelector(".player").hidden,
    films: { 0: at(0), 10: at(10), 49: at(49) },
    ground: getComputedStyle(document.body).backgroundColor,
  });
});
</script>"""


def look(page: str, folder: Path, *options: str) -> dict[str, Any]:
    """What the probe reports."""
    file = folder / "index.html"
    file.write_text(page.replace("<head>", f"<head>{PROBE}", 1))
    assert BROWSER is not None
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
        "--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=3000", *options,
        "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'data-report="([^"]*)"', done.stdout)
    assert found, done.stdout[:500] + done.stderr[-500:]
    return json.loads(unescape(found[1]))


@pytest.fixture(scope="module")
def page() -> str:
    return render(image_page(material()))


@pytest.mark.parametrize("width", [1280, 500])
def test_it_opens_complete_and_without_an_error(page: str, tmp_path: Path, width: int) -> None:
    seen = look(page, tmp_path, f"--window-size={width},900")
    assert seen["errors"] == []
    assert seen["images"] > 20
    assert seen["broken"] == []
    assert seen["hidden"] == 0
    assert seen["wide"] <= 0  # nothing to scroll sideways


def test_the_films_run_on_one_clock_of_passes(page: str, tmp_path: Path) -> None:
    seen = look(page, tmp_path)
    assert seen["player"]
    assert [film["frames"] for film in seen["films"]["0"]] == [50, 13, 29]
    for passes, frames in (("0", [0, 0, 0]), ("10", [10, 10, 10]), ("49", [49, 12, 28])):
        assert [film["frame"] for film in seen["films"][passes]] == frames
    assert [film["told"] for film in seen["films"]["10"]] == ["pass 10"] * 3
    assert [film["told"] for film in seen["films"]["49"]] == ["finished"] * 3


def test_without_scripts_the_films_run_too_and_stand_finished_where_motion_is_unwelcome(
    page: str, tmp_path: Path
) -> None:
    silent = re.sub(r"(?s)<script>\n// One clock.*?</script>", "", page)
    assert silent != page
    assert look(silent, tmp_path)["running"] == 3
    still = look(silent, tmp_path, "--force-prefers-reduced-motion")
    assert not still["player"]
    assert still["running"] == 0
    assert [film["frame"] for film in still["films"]["0"]] == [49, 12, 28]


def test_it_is_dark_where_people_like_it_dark(page: str, tmp_path: Path) -> None:
    def brightness(*options: str) -> float:
        ground = look(page, tmp_path, *options)["ground"]
        return sum(map(int, re.findall(r"\d+", ground)[:3])) / 3

    assert brightness() > 200
    assert brightness("--blink-settings=preferredColorScheme=0") < 60
