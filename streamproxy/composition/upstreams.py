"""Builds the list of upstreams: configured, stored, or the demo model."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack

from streamproxy.domain.keypool import Key, Upstream, key_id
from streamproxy.services.catalogue import Catalogue
from streamproxy.settings import Settings
from streamproxy.settings.providers import configured_upstreams, encryption_secret, spare_upstream
from streamproxy.stores.sql.connect import Database
from streamproxy.stores.sql.keys import SqlKeys
from streamproxy.stores.sql.sealing import Seal
from streamproxy.stores.sql.upstreams import SqlUpstreams
from streamproxy.tokenizer import Tokenizer

log = logging.getLogger(__name__)


async def open_catalogue(
    settings: Settings, database: Database, stack: AsyncExitStack, tokenizer: Tokenizer
) -> Catalogue:
    """The configured upstreams and those in the database; the demo model while there are none."""
    fixed = configured_upstreams(settings)
    return Catalogue(
        fixed,
        spare=spare_upstream(settings),
        last_resort=None if fixed else await open_demo(stack, tokenizer),
        keys=make_stored_keys(settings, database),
        upstreams=SqlUpstreams(database),
    )


def make_stored_keys(settings: Settings, database: Database) -> SqlKeys:
    return SqlKeys(database, Seal(encryption_secret(settings)))


async def open_demo(stack: AsyncExitStack, tokenizer: Tokenizer) -> Upstream:
    from streamproxy.demo import start_demo

    demo = await start_demo(counters=tokenizer)
    stack.push_async_callback(demo.close)
    log.warning("no upstream is configured: the built-in demo model answers (set OPENAI_API_KEY for a real one)")
    return Upstream("demo", "openai", demo.base_url, {"*": "*"}, (Key(key_id("demo", ""), ""),), allow_private=True)
