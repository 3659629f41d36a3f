"""On Python 3.13, for which labmaze has no wheel, unpack that of 3.12: only its pictures are used."""

import subprocess
import sys
import sysconfig

if sys.version_info >= (3, 13):
    wheel = ["--python-version", "3.12", "--only-binary", ":all:", "labmaze==1.0.6"]
    place = ["--target", sysconfig.get_path("purelib"), "--upgrade"]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *place, *wheel], check=True)
