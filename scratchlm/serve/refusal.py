"""How this server says no: OpenAI's error object, so that every client shows the reason."""

from typing import Any

from fastapi.responses import JSONResponse

TYPES = {401: "authentication_error", 429: "rate_limit_error"}


class Refusal(Exception):
    """An answer that is an error; its text goes to the caller."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.headers = headers

    def body(self) -> dict[str, Any]:
        """``{"error": {message, type, param, code}}``."""
        kind = TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """The same as an HTTP response."""
        return JSONResponse(self.body(), self.status, headers=self.headers)
