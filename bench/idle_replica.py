"""A replica that is healthy and answers nothing but `{}`: what `bench.pulumi_scale` starts in place of `serving`.

It imports next to nothing, since a hundred of them start on two cores, and it ends when its server does (stdin closes).
"""

import os
import select
import socket

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(f'{{"event": "ready", "port": {listening.getsockname()[1]}}}', flush=True)
    ready = select.poll()
    ready.register(0, select.POLLIN)
    ready.register(listening, select.POLLIN)
    while True:
        sources = {source for source, _ in ready.poll()}
        if 0 in sources and not os.read(0, 4096):
            return
        if listening.fileno() in sources:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(2)
                try:
                    connection.recv(65536)
                    connection.sendall(ANSWER)
                except OSError:
                    continue


if __name__ == "__main__":
    main()
