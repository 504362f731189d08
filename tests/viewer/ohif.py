"""OHIF as a site has it: the released viewer, beside a real PACS, from one web server."""

import base64
import getpass
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.peers import Orthanc, free_port, missing, need, wait_until

__all__ = ["dicomweb_plugin", "fetch_ohif", "serve_ohif"]

VERSION = "3.13.2"
INTEGRITY = "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
"""Of the package ``@ohif/app`` in this version, as the npm registry states it."""

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_HERE = Path(__file__).parent


def fetch_ohif() -> Path:
    """Return the folder of the viewer's files, fetched once into the user's cache (XDG_CACHE_HOME, else ~/.cache)."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pneumo-monai"
    kept = cache / f"ohif-{VERSION}"
    if kept.is_dir():
        return kept
    npm = need("npm", "npm")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as name:
        folder = Path(name)
        command = [npm, "pack", "--silent", f"@ohif/app@{VERSION}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
        if done.returncode != 0:
            missing(f"OHIF {VERSION} cannot be fetched from the npm registry: {done.stderr.strip()[-300:]}")
        (package,) = folder.glob("*.tgz")
        digest = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
        assert f"sha512-{digest}" == INTEGRITY, f"{package.name} is not what was released as {VERSION}"
        with tarfile.open(package) as archive:
            archive.extractall(folder, filter="data")
        (folder / "package" / "dist").rename(kept)
    return kept


def dicomweb_plugin() -> Path:
    """Return the plugin by which Orthanc speaks DICOMweb."""
    if not _PLUGIN.is_file():
        missing("Orthanc's DICOMweb plugin (Debian package orthanc-dicomweb) is not installed")
    return _PLUGIN


@contextmanager
def serve_ohif(folder: Path, orthanc: Orthanc) -> Iterator[str]:
    """Serve the viewer and the PACS's DICOMweb under one origin, as OHIF needs it; give the URL."""
    nginx = need("nginx", "nginx-light")
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    configuration = (_HERE / "nginx.conf").read_text()
    values = {"USER": getpass.getuser(), "FOLDER": folder, "PORT": port, "OHIF": fetch_ohif()}
    for name, value in {**values, "ORTHANC": orthanc.http_port}.items():
        configuration = configuration.replace(f"@{name}@", str(value))
    (folder / "nginx.conf").write_text(configuration)
    shutil.copy(_HERE / "app-config.js", folder)
    log = folder / "nginx.log"
    with log.open("ab") as stream:
        command = [nginx, "-e", str(log), "-p", str(folder), "-c", str(folder / "nginx.conf")]
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until("nginx serves the viewer and the PACS", lambda: _answers(f"{url}/dicom-web/studies"))
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
