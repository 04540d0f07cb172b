"""Addresses and networks (CIDR, RFC 4632) as settings name them: `10.0.0.0/8, 192.168.1.5, 2001:db8::/32`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

NETWORKS_MAX: Final = 100
"""Of one setting; each is looked at for each request."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Networks:
    """A list of networks; false when it is empty."""

    listed: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.listed)

    def hold(self, address: str) -> bool:
        """Whether an address is in one of them; text that is no address is in none."""
        found = address_of(address)
        return found is not None and any(found in network for network in self.listed)


def networks_of(text: str) -> Networks:
    """The networks of a setting, separated by commas or blanks. Raises ValueError."""
    parts = [one for one in re.split(r"[,\s]+", text) if one]
    if len(parts) > NETWORKS_MAX:
        raise ValueError(f"more than {NETWORKS_MAX} networks")
    try:
        return Networks(tuple(ipaddress.ip_network(one, strict=False) for one in parts))
    except ValueError as error:
        raise ValueError(f"{error}; write networks such as 10.0.0.0/8, or addresses") from None


def address_of(text: str) -> Address | None:
    """The address, an IPv4 one in IPv6 clothes (RFC 4291 2.5.5.2) as IPv4; None for other text."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        if found.scope_id is not None:
            return None
        return found.ipv4_mapped or found
    return found
