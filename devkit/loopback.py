"""Keeps proxies out of the connections between the kit's own processes."""

import os

# urllib looks up an IPv6 address in brackets, websockets without.
NAMES = ("127.0.0.1", "localhost", "::1", "[::1]")


def bypass_proxies() -> None:
    """Have this process and its children reach loopback without a proxy.

    HTTP_PROXY and the like stay in force for all other hosts.
    """
    # Clients prefer the lower-case name.
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")
    names = [name.strip() for name in known.split(",") if name.strip()]
    names += [name for name in NAMES if name not in names]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(names)
