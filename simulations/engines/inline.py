"""One worker: the ClientApp is called in this process when its reply is asked for."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp


class InlineWorkers:
    """Run the ClientApp in the calling process."""

    def __init__(self, app: ClientApp) -> None:
        self._app = app
        self._waiting: dict[str, tuple[Message, Context]] = {}

    window = 1

    def submit(self, identifier: str, message: Message, context: Context) -> None:
        """Keep a message until its reply is asked for."""
        self._waiting[identifier] = (message, context)

    def result(self, identifier: str) -> tuple[Message, Context]:
        """Handle a message now."""
        message, context = self._waiting.pop(identifier)
        return self._app(message, context), context

    def close(self) -> None:
        """Forget messages that nobody asked for."""
        self._waiting.clear()
