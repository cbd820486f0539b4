"""/admin/failures: what ended with an error lately. /admin/limits: what each user may use."""

from __future__ import annotations

from dataclasses import asdict

from streamproxy.domain.ports import Failure
from streamproxy.handlers.admin.base import AdminHandler, unknown_cursor
from streamproxy.wire.admin import FailureView, LimitsView

DAYS = 7


class FailuresHandler(AdminHandler):
    """The newest first, of the last seven days."""

    fields = frozenset({"limit", "after"})

    async def get(self) -> None:
        page, admin = self.page(), self.environment.admin
        first_day = int(admin.clock() // 86_400) - DAYS + 1
        found = await admin.usage.failures(first_day=first_day, after=page.after, limit=page.fetch)
        if found is None:
            raise unknown_cursor()
        self.write_page(page, [view(failure) for failure in found])


class LimitsHandler(AdminHandler):
    """The limits in force."""

    async def get(self) -> None:
        self.write_view(LimitsView(**asdict(self.environment.admin.limits)))


def view(failure: Failure) -> FailureView:
    record = failure.record
    return FailureView(
        id=record.stream_id,
        request_id=record.request_id,
        created=record.created,
        user_id=record.user_id,
        user_name=failure.user_name,
        model=record.model,
        endpoint=record.endpoint,
        upstream=record.upstream,
        key_last4=record.key_last4,
        attempts=record.attempts,
        end_reason=str(record.end_reason),
        error_code=record.error_code or "",
    )


ROUTES = [(r"/admin/failures", FailuresHandler), (r"/admin/limits", LimitsHandler)]
