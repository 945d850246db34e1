"""What one manifest makes of a site: swapped as a whole on reload, so that no request sees half of each."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from mizan_core.manifest import Manifest
from mizan_core.mwt import Identity, Keyring, verify
from mizan_edge.http.forwarding import Trusted
from mizan_edge.rules.compression import CompressWhat
from mizan_edge.rules.identity import IdentityRules
from mizan_edge.rules.policy import KeyInputs
from mizan_edge.rules.routes import Router
from mizan_edge.rules.switches import Switches, off


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that decide about requests."""

    secret: bytes
    identity: IdentityRules
    keyring: Keyring | None
    allowed_hosts: tuple[str, ...]
    """Empty: any."""
    trusted_proxies: Trusted
    languages: tuple[str, ...]
    """Of the site, to which Accept-Language comes down; empty: it stays as it is."""
    forward_mizan_headers: bool
    client_revalidation: bool
    """Whether who has not signed in may demand that something is fetched."""
    max_entry_bytes: int
    compress: CompressWhat
    max_call_bytes: int
    shadow: float
    """The share of hits that is compared with the origin, where nothing else is said of their context."""

    def serves(self, host: str) -> bool:
        """Whether a host is one of `allowed_hosts`, which name a port or stand for every port."""
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        return not self.allowed_hosts or host in self.allowed_hosts or name in self.allowed_hosts

    def verifier(self, now_s: float) -> Callable[[str], Identity | None]:
        """Says whom a token proves at `now_s`."""
        keyring = self.keyring
        return lambda token: verify(keyring, token, now_s=now_s) if keyring else None


class InUse:
    """The site in use. Whoever works on a request takes it once, at the beginning."""

    def __init__(self, site: "Site") -> None:
        self.site = site


@dataclass(frozen=True, slots=True)
class Site:
    """A manifest, compiled, and how its contexts are switched."""

    manifest: Manifest
    router: Router
    keys: KeyInputs
    switches: Switches
    off: frozenset[str]
    """The contexts for which the cache is not used."""
    shadow: float
    """As `Rules` says."""

    @classmethod
    def of(cls, manifest: Manifest, rules: Rules, switches: Switches) -> "Site":
        only_host = rules.allowed_hosts[0] if len(rules.allowed_hosts) == 1 else None
        keys = KeyInputs(rules.secret, manifest, many_hosts=only_host is None, only_host=only_host)
        return cls(manifest, Router(manifest), keys, switches, off(switches), rules.shadow)

    def switched(self, switches: Switches) -> "Site":
        """The same manifest under other switches: another site, so that nothing of this one is repeated or joined."""
        return replace(self, switches=switches, off=off(switches))

    def share(self, context: str) -> float:
        """The share of a context's hits that is compared with the origin."""
        switch = self.switches.get(context)
        return self.shadow if switch is None or switch.shadow is None else switch.shadow
