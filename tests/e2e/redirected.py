"""What catches the traffic of others, in namespaces of its own: transparent mode by netfilter, local mode by eBPF.

    unshare -m sh -c 'mount …; exec unshare -C -n -m python redirected.py MODE HOME'

A server, a mitmdump that records and a client that knows of no proxy, in a network that nobody else is in.  Exit status
0: all was done; 3: this machine cannot do it, and why.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).parent))

from mitmdumps import Mitmdump, serving, starting, wait_for

NOBODY = 65534
CLIENT = "tapeclient"
"""Local mode looks at the name of the program."""

ASK = "import sys, urllib.request as r; print(r.build_opener(r.ProxyHandler({})).open(sys.argv[1], timeout=20).status)"
SUDO = '#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done\nexec "$@"\n'
"""mitmproxy starts its redirector by sudo, even for root."""


def cannot(why: str) -> NoReturn:
    print(why)
    sys.exit(3)


def run(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def redirect(port: int, to: int) -> None:
    """What the client's group sends to the port goes to the other; mitmdump's own requests pass."""
    if shutil.which("nft"):
        done = (
            run("nft", "add", "table", "ip", "tape")
            and run("nft", "add chain ip tape out { type nat hook output priority -100; }")
            and run("nft", f"add rule ip tape out meta skgid {NOBODY} tcp dport {port} redirect to :{to}")
        )
    elif shutil.which("iptables"):
        match = ("-p", "tcp", "--dport", str(port), "-m", "owner", "--gid-owner", str(NOBODY))
        done = run("iptables", "-t", "nat", "-A", "OUTPUT", *match, "-j", "REDIRECT", "--to-ports", str(to))
    else:
        cannot("neither nft nor iptables is installed")
    if not done:
        cannot("the kernel refuses to redirect connections")


def local_mode_runs(mitmdump: Mitmdump) -> bool:
    if "eBPF initialization failed" in mitmdump.output or "Failed to" in mitmdump.output:
        cannot("mitmproxy's redirector cannot attach its eBPF program here")
    # What it attached is in force once its virtual network interface is there.
    return "Local redirector started" in mitmdump.output and Path("/sys/class/net/tun0").exists()


def main(mode: str, home: Path) -> None:
    run("mount", "-t", "sysfs", "none", "/sys") and run("mount", "-t", "cgroup2", "none", "/sys/fs/cgroup")
    if not run("ip", "link", "set", "lo", "up"):
        cannot("the program `ip` is missing")
    (home / "bin").mkdir()
    client = home / "bin" / CLIENT
    client.symlink_to(Path(sys.executable).resolve())
    (home / "bin" / "sudo").write_text(SUDO)
    (home / "bin" / "sudo").chmod(0o755)
    environment = {"PATH": f"{home / 'bin'}:{os.environ['PATH']}"}
    with serving() as shop, starting(home) as start:
        group = None
        if mode == "transparent":
            mitmdump, group = start("--mode", "transparent", environment=environment), NOBODY
            redirect(shop, mitmdump.port)
        else:
            mitmdump = start("--mode", f"local:{CLIENT}", environment=environment)
            wait_for("the redirector", lambda: local_mode_runs(mitmdump))
            wait_for("the recorder", lambda: "polltape records to" in mitmdump.output)
        url = f"http://127.0.0.1:{shop}/jobs/1?a"
        asked = subprocess.run([client, "-I", "-c", ASK, url], capture_output=True, text=True, group=group, check=False)
        mitmdump.send(signal.SIGINT)
        mitmdump.ended()
        print(shop, asked.stdout, asked.stderr, mitmdump.output)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
