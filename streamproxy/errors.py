"""Every error streamproxy raises on purpose, as one tree of plain data.

::

    StreamProxyError
     ├─ ConfigurationError
     ├─ BadRequestError 400 ── ContextLengthError · ContentPolicyError · RequestTooLargeError 413
     │                        · MethodNotAllowedError 405 · UnsupportedMediaTypeError 415
     ├─ AuthenticationError 401
     ├─ PermissionDeniedError 403
     ├─ NotFoundError 404 ─── GoneError 410
     ├─ ConflictError 409 ─── SessionBusyError · StreamCancelledError
     ├─ RateLimitError 429 ── QuotaError
     ├─ UpstreamError 502 ─── UpstreamTimeoutError 504 · UpstreamRejectedError 4xx · NoKeyAvailableError 503
     │                        · UpstreamKeyError
     ├─ StoreUnavailableError 503
     └─ InternalServerError 500

The names are those of OpenAI's own clients where they exist there. A message is written for the
client who reads it: it never carries a secret, a driver's text or an upstream's raw words.
A client that leaves is not an error and not in the tree.
"""

from __future__ import annotations

from typing import ClassVar


class StreamProxyError(Exception):
    """Root of the tree. *retry_after* is in seconds; *param* names the request field at fault."""

    status: int = 500
    type: ClassVar[str] = "server_error"
    code: str = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after
        if code is not None:
            self.code = code


class ConfigurationError(StreamProxyError):
    """Settings or the installation are at fault; *message* names value, source and remedy."""

    code = "configuration_error"


class BadRequestError(StreamProxyError):
    """The request itself is wrong; sending it again cannot help."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class ContextLengthError(BadRequestError):
    """What may not be cut is already longer than the model's window."""

    code = "context_length_exceeded"


class ContentPolicyError(BadRequestError):
    """Moderation refuses what is asked."""

    code = "content_policy_violation"


class RequestTooLargeError(BadRequestError):
    """The body is larger than the configured bound."""

    status = 413
    code = "request_too_large"


class MethodNotAllowedError(BadRequestError):
    """The path exists, not with this method."""

    status = 405
    code = "method_not_allowed"


class UnsupportedMediaTypeError(BadRequestError):
    """The body is announced as something other than JSON."""

    status = 415
    code = "unsupported_media_type"


class AuthenticationError(StreamProxyError):
    """The caller's own credential is missing, wrong, expired or revoked."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class PermissionDeniedError(StreamProxyError):
    """The principal is known and may not do this."""

    status = 403
    type = "permission_error"
    code = "permission_denied"


class NotFoundError(StreamProxyError):
    """No such path, model or object, or none that this principal may know of."""

    status = 404
    type = "invalid_request_error"
    code = "not_found"


class GoneError(NotFoundError):
    """It was there, it was yours, and it is no longer held."""

    status = 410
    code = "gone"


class ConflictError(StreamProxyError):
    """Something else holds what the request needs."""

    status = 409
    type = "conflict_error"
    code = "conflict"
    retryable = True


class SessionBusyError(ConflictError):
    """Another turn of the same session did not end within the wait bound."""

    code = "session_busy"


class StreamCancelledError(ConflictError):
    """Somebody who may do so ended the stream before there was an answer; asking again would undo that."""

    code = "stream_cancelled"
    retryable = False


class RateLimitError(StreamProxyError):
    """A sliding window or the bound on running streams refuses; *retry_after* is exact."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    retryable = True


class QuotaError(RateLimitError):
    """A quota that does not slide (calendar day, remaining questions) is used up."""

    code = "daily_limit_exceeded"


class UpstreamError(StreamProxyError):
    """The upstream failed, or answered what is no answer."""

    status = 502
    type = "upstream_error"
    code = "upstream_error"
    retryable = True


class UpstreamKeyError(UpstreamError):
    """The upstream does not accept our key, or its account is out of quota. *explained* when it said why."""

    code = "upstream_key_refused"

    def __init__(
        self, message: str, *, code: str | None = None, param: str | None = None, explained: bool = True
    ) -> None:
        super().__init__(message, code=code, param=param)
        self.explained = explained


class UpstreamTimeoutError(UpstreamError):
    """The upstream took longer than one of its time limits; *code* names which."""

    status = 504
    code = "upstream_timeout"


class UpstreamRejectedError(UpstreamError):
    """The upstream says that the caller's request is wrong (4xx, the caller's fault)."""

    type = "invalid_request_error"
    code = "upstream_rejected"
    retryable = False

    def __init__(self, message: str, *, status: int, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message, code=code, param=param)
        self.status = status


class NoKeyAvailableError(UpstreamError):
    """No healthy key with room serves this model now."""

    status = 503
    code = "no_key_available"


class StoreUnavailableError(StreamProxyError):
    """Redis or SQL does not answer, and the settings say to refuse rather than guess."""

    status = 503
    type = "service_unavailable"
    code = "store_unavailable"
    retryable = True


class InternalServerError(StreamProxyError):
    """A defect of ours. The traceback is in the log under the request id, never in the answer."""
