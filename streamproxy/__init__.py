"""streamproxy: a Tornado server-sent-events proxy between chat frontends and OpenAI-compatible APIs.

The way of one request, and the ten minutes of reading that explain the rest::

    handlers/chat.py         parses, calls one thing, writes
    services/chat.py         opens an exchange: limits, session, key, upstream; settles it at its one exit
    services/relay.py        upstream bytes in, frames for the client out, what was said kept
    handlers/eventstream.py  the only writer of server-sent events
    domain/ports/            what the services ask of Redis and SQL
    composition/worker.py    opens everything in order and introduces it to each other
    app.py                   serves, and drains at the end

Layers, upper may import lower: ``cli → app → handlers | settings → services | stores | upstream →
dialects → domain → wire → log | errors``. ``make check`` holds them (setup.cfg, import-linter).
"""

__version__ = "0.1.0"
