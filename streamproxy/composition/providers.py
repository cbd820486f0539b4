"""Builds the way to the upstreams: connections, the pool of keys, and what looks after them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from random import Random

from redis.backoff import EqualJitterBackoff

from streamproxy.composition.start import Start
from streamproxy.composition.stores import Stores
from streamproxy.composition.upstreams import make_stored_keys, open_catalogue
from streamproxy.domain.keypool import Upstream
from streamproxy.metrics import Metrics
from streamproxy.services.admission import Admission
from streamproxy.services.keybook import KeyBook
from streamproxy.services.keylimits import KeyLimits
from streamproxy.services.keyring import Keyring
from streamproxy.services.keys import KeyPool
from streamproxy.services.leases import LeaseKeeper
from streamproxy.services.probes import Prober
from streamproxy.stores.redis.keystates import RedisKeyStates
from streamproxy.upstream.client import AiohttpTransport

# How long a key rests whose upstream keeps failing: 1 s, then twice as long each time, up to a minute; half of it is
# drawn. stamina, tenacity and backoff wrap a call and sleep between its tries; here the pause is a state that all
# workers share, so only the formula is of use, and redis-py, which is here anyway, has it bare.
BACKOFF = EqualJitterBackoff(cap=60, base=1)


@dataclass(frozen=True, slots=True)
class Providers:
    """*keyring* makes the people's view of the keys anew for each of their requests."""

    transport: AiohttpTransport
    keys: KeyPool
    prober: Prober
    keyring: Callable[[], Keyring]


async def open_providers(
    start: Start, stack: AsyncExitStack, stores: Stores, metrics: Metrics, *, admission: Admission, leases: LeaseKeeper
) -> Providers:
    """The pool has read which keys there are and what is known of them."""
    settings = start.settings
    transport = await stack.enter_async_context(
        AiohttpTransport(connect_timeout=settings.upstream.connect_timeout, shortcut=settings.server.shortcuts)
    )
    states = RedisKeyStates(stores.redis)
    catalogue = await open_catalogue(settings, stores.database, stack, start.tokenizer)
    keys = KeyPool(
        catalogue,
        book=KeyBook(states, clock=time.time, backoff=BACKOFF.compute, watch=metrics.keys),
        limits=KeyLimits(admission, leases),
        changed=partial(_introduce, transport, metrics),
        clock=time.time,
        # Who answers is no secret; the system's own randomness costs a call of the kernel each time.
        random=Random(),  # noqa: S311
    )
    await keys.reload()
    await keys.refresh()
    every = settings.upstream.probe_seconds
    stored = make_stored_keys(settings, stores.database)
    return Providers(
        transport,
        keys,
        Prober(keys, transport, states=states, every=every, clock=time.time),
        partial(Keyring, catalogue, stored, states=states, transport=transport, clock=time.time, retry=every),
    )


def _introduce(transport: AiohttpTransport, metrics: Metrics, upstreams: Sequence[Upstream]) -> None:
    transport.meet(upstreams)
    metrics.meet(upstreams)
