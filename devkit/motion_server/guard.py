"""Keeps pages of other sites away from the control of the server.

A browser lets any page send requests to this machine. It names the page in
`Origin`; and a foreign name that was made to point at this machine (DNS
rebinding) still stands in `Host`.
"""

import ipaddress
import socket
from collections.abc import Mapping

LOCAL_NAMES = frozenset({"localhost"})


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server at `host`."""
    address = _address(host)
    return host in LOCAL_NAMES or (address is not None and address.is_loopback)


def refusal(headers: Mapping[str, str], listens_on: str) -> str | None:
    """Say why a request must not steer the server; None: it may.

    Clients other than browsers send no Origin and are accepted: they could
    write any.
    """
    host = headers.get("Host", "")
    if not _is_own(host, listens_on):
        return f"Host is not this machine: {host[:80]!r}"
    origin = headers.get("Origin")
    if origin is not None and origin != f"http://{host}":
        return f"asked by a page from elsewhere: {origin[:80]!r}"
    # Requests without an Origin, such as that of an <img>.
    if headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return "asked by a page from elsewhere"
    return None


def _is_own(host: str, listens_on: str) -> bool:
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.strip("[]").lower()
    if is_loopback(name):
        return True
    if is_loopback(listens_on):
        return False
    # Rebinding needs a name that its owner can point elsewhere; an address
    # cannot be pointed.
    return _address(name) is not None or name in (
        listens_on.lower(),
        socket.gethostname().lower(),
    )


def _address(
    text: str,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
