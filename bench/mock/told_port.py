"""For mitmdump: says where it listens, as the other servers do."""

from mitmproxy import ctx


def running() -> None:
    host, port = ctx.master.addons.get("proxyserver").listen_addrs()[0][:2]
    print(f"listening on http://{host}:{port}", flush=True)
