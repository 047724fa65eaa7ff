"""A real browser, and what it sees of a page."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
        if (found := shutil.which(name))
    ),
    None,
)
MARKS = [pytest.mark.e2e, pytest.mark.skipif(BROWSER is None, reason="no Chromium here")]

# Runs before everything else of the page, and reports what a person would see when all is loaded.
PROBE = """<script>
const errors = [];
addEventListener("error", (event) => errors.push(String(event.message || event.target.outerHTML.slice(0, 80))), true);
addEventListener("securitypolicyviolation", (event) => errors.push(event.blockedURI));
addEventListener("load", () => {
  const images = [...document.images];
  const sliders = [...document.querySelectorAll(".player input")];
  const turnTo = (time) => {
    for (const slider of sliders) { slider.value = time; slider.dispatchEvent(new Event("input")); }
  };
  const at = (time) => {
    turnTo(time);
    return [...document.querySelectorAll(".film")].map((film) => {
      const [box, picture] = [film.getBoundingClientRect(), film.querySelector("img").getBoundingClientRect()];
      return { frame: Math.round((box.top - picture.top) / box.height), frames: Math.round(picture.height / box.height),
               told: film.parentElement.querySelector(".now").textContent };
    });
  };
  // Of each person: how many pixels are painted, a number that follows from all of them, and how opaque they are.
  const people = (time) => {
    turnTo(time);
    return [...document.querySelectorAll(".person canvas")].map((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const painted = data.filter((value, place) => place % 4 === 3 && value > 0).length;
      return { painted, sum: data.reduce((sum, value) => (31 * sum + value) % 1000003, 7), seen: canvas.style.opacity };
    });
  };
  document.documentElement.dataset.report = JSON.stringify({
    errors,
    images: images.length,
    broken: images.filter((image) => !(image.complete && image.naturalWidth > 0)).map((image) => image.alt),
    hidden: images.filter((image) => !image.closest("details") && image.getBoundingClientRect().width < 20).length,
    wide: document.documentElement.scrollWidth - innerWidth,
    running: document.getAnimations().length,
    player: !(document.querySelector(".player")?.hidden ?? true),
    people: { 1: people(1), 6: people(6), 99: people(99) },
    films: { 0: at(0), 5: at(5), 10: at(10), 49: at(49) },
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
