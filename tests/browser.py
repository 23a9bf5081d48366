"""A real Chromium without a window, and what it says of a page: its console, its requests, when it first painted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 1500, 1100

TIMEOUT_S = 300.0
"""A busy machine that draws WebGL on the CPU takes its time."""

HINTS = ("GL Driver Message", "willReadFrequently")
"""On speed: of WebGL on the CPU, and of a canvas of chemiscope's."""


def missing() -> str:
    """Return why there is no browser to test with; empty where there is one."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed: tools/environment browser"
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not found: apt-get install chromium chromium-driver" if absent else ""


@contextmanager
def chromium(timeout_s: float = TIMEOUT_S) -> Iterator[Any]:
    """Start Chromium, which draws WebGL on the CPU and logs its console and its requests."""
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = shutil.which("chromium") or ""
    for argument in (
        "--headless=new",
        "--no-sandbox",  # which root may not use
        "--disable-dev-shm-usage",
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--force-device-scale-factor=1",
        f"--window-size={WIDTH},{HEIGHT}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        driver.command_executor.client_config.timeout = timeout_s
        driver.set_page_load_timeout(timeout_s)
        driver.set_script_timeout(timeout_s)
        yield driver
    finally:
        driver.quit()


def wait_for(driver: Any, condition: str, timeout_s: float = TIMEOUT_S) -> Any:
    """Wait until an expression of JavaScript is true, and return its value."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, timeout_s).until(lambda _: driver.execute_script(f"return {condition}"), condition)


def open_report(driver: Any, page: Path, timeout_s: float = TIMEOUT_S) -> None:
    """Open a report from disk and wait until its explorer shows a crystal."""
    driver.get(page.absolute().as_uri())
    wait_for(driver, "window.explorer !== undefined", timeout_s)
    viewers = "[...window.explorer.structure._cellsData.values()].map(cell => cell.viewer)"
    wait_for(driver, f"{viewers}.some(viewer => viewer._viewer.selectedAtoms({{}}).length > 0)", timeout_s)


def complaints(driver: Any) -> list[str]:
    """Return the errors and warnings in the console since the last call, but for `HINTS`."""
    entries = driver.get_log("browser")
    return [
        entry["message"]
        for entry in entries
        if entry["level"] in ("SEVERE", "WARNING") and not any(hint in entry["message"] for hint in HINTS)
    ]


def requests(driver: Any) -> list[str]:
    """Return the addresses that the browser has asked for since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [
        message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"
    ]


def first_paint_s(driver: Any) -> float:
    """Return when the page first showed something, in seconds from the start of its loading."""
    paints = driver.execute_script("return performance.getEntriesByType('paint').map(entry => entry.startTime)")
    return min(paints) / 1e3
