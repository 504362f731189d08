"""One Orthanc, one OHIF and one Chromium for all tests: their start costs seconds."""

from collections.abc import Iterator

import pytest

from tests.peers import Orthanc, missing, need
from tests.viewer.ohif import dicomweb_plugin, serve_ohif
from tests.viewer.radiologist import Radiologist
from tests.viewer.studies import ViewedStudy, negative, positive, refused, withdrawn

_CHROMIUM = [
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
]
"""It draws without a graphics card, and calls nobody."""


@pytest.fixture(scope="session")
def studies() -> dict[str, ViewedStudy]:
    """Make what is looked at."""
    return {"positive": positive(), "negative": negative(), "refused": refused(), "withdrawn": withdrawn()}


@pytest.fixture(scope="session")
def viewer(tmp_path_factory: pytest.TempPathFactory, studies: dict[str, ViewedStudy]) -> Iterator[str]:
    """Run a real PACS that holds the studies, and a real viewer on it; give the viewer's URL."""
    pacs = Orthanc(tmp_path_factory.mktemp("orthanc"), plugins=[dicomweb_plugin()])
    pacs.start()
    try:
        for study in studies.values():
            for file in study.files:
                pacs.store(file)
        with serve_ohif(tmp_path_factory.mktemp("ohif"), pacs) as url:
            yield url
    finally:
        pacs.stop()


@pytest.fixture(scope="session")
def radiologist(viewer: str) -> Iterator[Radiologist]:
    """Run a real browser on the viewer."""
    chromium = need("chromium", "chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        missing("playwright is not installed: pip install '.[viewer]'")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_CHROMIUM)
        try:
            yield Radiologist(browser.new_page(), viewer)
        finally:
            browser.close()
