"""Install the independent programs that the tests talk to (Debian packages); say which are missing where it may not.

A test whose program is missing is skipped with that reason.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys

PACKAGES = {
    "storescu": "dcmtk",
    "Orthanc": "orthanc",
    "tshark": "tshark",
    "dciodvfy": "dicom3tools",
    "nginx": "nginx-light",
    "ab": "apache2-utils",
    "chromium": "chromium",
    "rsyslogd": "rsyslog",
    "slapd": "slapd",
    "promtool": "prometheus",
}
PLACES = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


def missing() -> list[str]:
    """The Debian packages whose programs are not here."""
    packages = [package for program, package in PACKAGES.items() if not shutil.which(program, path=PLACES)]
    if not os.path.exists("/usr/share/orthanc/plugins/libOrthancDicomWeb.so"):
        packages.append("orthanc-dicomweb")
    if not glob.glob("/usr/lib/*/rsyslog/lmnsd_gtls.so"):
        packages.append("rsyslog-gnutls")
    if not os.path.exists("/usr/lib/postgresql/15/bin/postgres") and not shutil.which("initdb", path=PLACES):
        packages.append("postgresql-15")
    return packages


def main() -> None:
    """Install what is missing, as root on Debian; elsewhere name it."""
    packages = missing()
    if not packages:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(f"Not installed, their tests will be skipped: {', '.join(packages)}.", file=sys.stderr)
        print(f"On Debian: sudo apt-get install --no-install-recommends {' '.join(packages)}", file=sys.stderr)
        return
    print(f"Installing {', '.join(packages)} ...", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=False, env=environment, stdout=subprocess.DEVNULL)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    if subprocess.run(command, check=False, env=environment, stdout=subprocess.DEVNULL).returncode:
        print("Some packages could not be installed; their tests will be skipped.", file=sys.stderr)


if __name__ == "__main__":
    main()
