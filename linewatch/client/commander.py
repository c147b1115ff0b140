"""Commands to a running service on this host."""

from types import TracebackType
from typing import Self

import zmq

from linewatch.client.questions import Questions
from linewatch.contracts.errors import WireError
from linewatch.wire.schema import EngineAction, EngineReply


class Commander:
    """Connected to a service's command socket; opened, used and closed by one thread."""

    def __init__(self, endpoint: str, answer_timeout_s: float = 5.0) -> None:
        """`endpoint`: the service's [wire] commands. Raises WireError for what is no endpoint."""
        self._endpoint = endpoint
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            self._questions = Questions(self._dealer, answer_timeout_s)
        except BaseException:
            self._context.destroy(0)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._questions.close()
        self._context.destroy(0)

    def engine(self, action: EngineAction, name: str = "", *, shadow: bool = False) -> EngineReply:
        """Load an engine beside the running ones, promote or drop it, or show how things stand.

        The reply says that the command was taken, not that it is done. Raises NoAnswerError when it was refused or
        nobody answered.
        """
        return self._questions.engine(action, name, shadow=shadow)

    def _dealer(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.linger = 0
        try:
            socket.connect(self._endpoint)
        except zmq.ZMQError as error:
            socket.close(0)
            raise WireError(
                f"cannot connect to {self._endpoint!r}: {error.strerror}; expected tcp://HOST:PORT or ipc://PATH as "
                "[wire] commands of the service has it"
            ) from error
        return socket
