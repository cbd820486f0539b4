"""The OpenAPI 3.1 document of every endpoint, as plain values: https://spec.openapis.org/oas/v3.1.1.html

One module a family, each with its ``TAG``, its ``SCHEMAS`` and its ``OPERATIONS``. They are written by hand because
the handlers read most requests by hand, so that unknown fields pass; bounds are imported from where they are enforced.
The admin API, which reads structs, has its schemas generated from them. Tests hold operations and routes to each
other, and schemathesis holds the document to what the server does.
"""

from __future__ import annotations

from streamproxy.openapi.document import document

__all__ = ["document"]
