"""A real browser, and what it sees of a page."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((path for name in NAMES if (path := shutil.which(name))), None)
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
      return [Math.round((box.top - picture.top) / box.height), Math.round(picture.height / box.height)];
    });
  };
  // Of each person: a number that follows from all pixels.
  const people = (time) => {
    turnTo(time);
    return [...document.querySelectorAll(".person canvas")].map((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.reduce((sum, value) => (31 * sum + value) % 1000003, 7);
    });
  };
  document.documentElement.dataset.report = JSON.stringify({
    errors,
    broken: images.filter((image) => !(image.complete && image.naturalWidth > 0)).map((image) => image.alt),
    hidden: images.filter((image) => !image.closest("details") && image.getBoundingClientRect().width < 20).length,
    wide: document.documentElement.scrollWidth - innerWidth,
    player: !(document.querySelector(".player")?.hidden ?? true),
    people: [people(1), people(6)],
    films: [at(0), at(49)],
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
    match = re.search(r'data-report="([^"]*)"', done.stdout)
    assert match, done.stdout[:500] + done.stderr[-500:]
    return json.loads(unescape(match[1]))
