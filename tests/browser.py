"""A real Chromium, driven by its own driver, that reaches nothing but the loopback."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
WAIT_S = 20.0


@contextmanager
def chromium(*, dark: bool = False) -> Iterator[Chrome]:
    """A window with a profile of its own. Certificates are not verified: `tests/e2e/test_web.py` does that with Python's ssl."""
    if not Path(CHROMIUM).exists():
        raise RuntimeError("chromium is not installed: run scripts/provision")
    with tempfile.TemporaryDirectory(prefix="hostguard-chromium-", ignore_cleanup_errors=True) as profile:
        options = ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in (
            "--headless=new",
            "--no-sandbox",  # it runs as root
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--ignore-certificate-errors",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            # Names lead nowhere: what a page would load from elsewhere fails.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--window-size=1200,1000",
            f"--user-data-dir={profile}",
            *(["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else []),
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = Chrome(options=options, service=Service(DRIVER))
        driver.set_page_load_timeout(WAIT_S)
        try:
            yield driver
        finally:
            driver.quit()
