"""Redis that goes away and comes back."""

import socket
import threading


class Gate:
    """A relay before Redis that can be shut: connections break, and new ones are refused at once."""

    def __init__(self, redis_url: str) -> None:
        self._target = redis_url.removeprefix("unix://")
        self._server = socket.create_server(("127.0.0.1", 0))
        self._shut = False
        self._open: list[socket.socket] = []
        self.url = f"redis://127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)

    def __enter__(self) -> "Gate":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()
        self.shut()

    def shut(self) -> None:
        self._shut = True
        for end in self._open:
            # Closing alone would not wake the thread that reads from it.
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._open.clear()

    def open(self) -> None:
        self._shut = False

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            if self._shut:
                near.close()
                continue
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._target)
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(source, sink)).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        source.close()
        sink.close()
