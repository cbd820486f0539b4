"""/admin/keys: provider credentials, as the command ``key`` does it. A key's text goes in and never comes out."""

from __future__ import annotations

from streamproxy.domain.keypool import KeyState
from streamproxy.domain.limits import LimitPolicy, parse_limits
from streamproxy.errors import BadRequestError, ConfigurationError, NotFoundError
from streamproxy.handlers.admin.base import ID, AdminHandler, unknown_cursor
from streamproxy.services.keyring import Keyring, KnownKey
from streamproxy.wire.admin import KeyPatch, KeyView, NewKey, ProbeView, parse


class _KeyHandler(AdminHandler):
    """What the handlers of keys share."""

    async def known(self, keyring: Keyring, key_id: str) -> KnownKey:
        """The key of exactly this id."""
        found = [key for key in await keyring.all() if key.id == key_id]
        if not found:
            raise NotFoundError("There is no key of this id.", code="key_not_found")
        return found[0]

    def view(self, key: KnownKey) -> KeyView:
        """*key* as it stands now."""
        status, state = key.status, key.state(self.environment.admin.clock())
        ends = state in (KeyState.COOLING, KeyState.PARKED) and not key.held and status.until > 0
        return KeyView(
            id=key.id,
            upstream=key.upstream,
            last4=key.last4,
            source="added" if key.stored else "settings",
            state=state.value,
            held=key.held,
            until=status.until if ends else None,
            reason="" if state is KeyState.HEALTHY else status.reason,
            message="" if state is KeyState.HEALTHY else status.message,
            requests=key.tally.requests,
            errors=key.tally.errors,
            last_error=key.tally.last_error,
        )


class KeysHandler(_KeyHandler):
    """The list, by upstream, and new keys. ``reachable`` is false while Redis is away: states are then unknown."""

    fields = frozenset({"limit", "after"})

    async def get(self) -> None:
        page, keyring = self.page(), self.environment.admin.keyring()
        keys = await keyring.all()
        if page.after:
            place = [number for number, key in enumerate(keys) if key.id == page.after]
            if not place:
                raise unknown_cursor()
            keys = keys[place[0] + 1 :]
        found = [self.view(key) for key in keys[: page.fetch]]
        self.write_page(page, found, reachable=keyring.reachable)

    async def post(self) -> None:
        new, keyring = parse(self.json_body, NewKey), self.environment.admin.keyring()
        added = await keyring.add(new.upstream, new.key, weight=new.weight, limits=_own_limits(new))
        self.set_header("Location", f"/admin/keys/{added.id}")
        self.write_view(self.view(await self.known(keyring, added.id)), status=201)


class KeyHandler(_KeyHandler):
    """One key."""

    async def get(self, key_id: str) -> None:
        self.write_view(self.view(await self.known(self.environment.admin.keyring(), key_id)))

    async def patch(self, key_id: str) -> None:
        patch, keyring = parse(self.json_body, KeyPatch), self.environment.admin.keyring()
        key = await self.known(keyring, key_id)
        await (keyring.disable(key) if patch.disabled else keyring.enable(key))
        self.write_view(self.view(await self.known(keyring, key_id)))

    async def delete(self, key_id: str) -> None:
        keyring = self.environment.admin.keyring()
        await keyring.remove(await self.known(keyring, key_id))
        self.set_status(204)


class ProbeHandler(_KeyHandler):
    """Ask the key's provider now; a good answer puts the key back into use."""

    async def post(self, key_id: str) -> None:
        keyring = self.environment.admin.keyring()
        fault = await keyring.probe(await self.known(keyring, key_id))
        self.write_view(ProbeView(id=key_id, fault=fault or None))


def _own_limits(new: NewKey) -> LimitPolicy | None:
    if (new.requests, new.tokens, new.streams) == (None, None, None):
        return None
    limits = {}
    for name in ("requests", "tokens"):
        try:
            limits[name] = parse_limits(getattr(new, name) or "")
        except ConfigurationError as exc:
            raise BadRequestError(exc.message, param=name) from None
    return LimitPolicy(limits["requests"], limits["tokens"], new.streams or 0)


ROUTES = [
    (r"/admin/keys", KeysHandler),
    (rf"/admin/keys/({ID})", KeyHandler),
    (rf"/admin/keys/({ID})/probe", ProbeHandler),
]
