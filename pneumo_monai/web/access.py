"""Who may see the web port: whoever knows the token, as bearer token or as a password (RFC 6750, RFC 7617)."""

import base64
import binascii
import hmac

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["TokenGuard"]

_OPEN = frozenset({"/health"})
"""Says that we are alive, and nothing else: load balancers know no token."""


class TokenGuard:
    """Lets nobody through who does not know the token.

    Parameters
    ----------
    app : ASGIApp
        What is guarded.
    token : str
        What must be known. Browsers ask for it as a password; the user name does not matter.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or 401."""
        if scope["type"] == "http" and scope["path"] not in _OPEN and not self._is_known(Headers(scope=scope)):
            answer = PlainTextResponse(
                "a token is needed",
                status_code=401,
                headers={"WWW-Authenticate": 'Basic realm="pneumo-monai", charset="UTF-8"'},
            )
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_known(self, headers: Headers) -> bool:
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        shown = credentials.strip().encode("latin-1", errors="replace")
        if scheme.lower() == "basic":
            try:
                shown = base64.b64decode(shown, validate=True).partition(b":")[2]
            except binascii.Error:
                return False
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(shown, self._token)
