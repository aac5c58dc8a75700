"""Python's websockets as an echo server: server_websockets.py [CERTIFICATES]

With a directory of certificates it serves wss:. The message "close" is answered by a Close frame with code 4001 and the
reason "bye".
"""

import asyncio
import pathlib
import ssl
import sys

from websockets.asyncio.server import serve


async def echo(ws):
    async for message in ws:
        if message == "close":
            await ws.close(4001, "bye")
        else:
            await ws.send(message)


def choose(_, offered):
    return "chat" if "chat" in offered else None


async def main():
    context = None
    if len(sys.argv) > 1:
        certificates = pathlib.Path(sys.argv[1])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    async with serve(echo, "127.0.0.1", 0, ssl=context, select_subprotocol=choose) as server:
        port = server.sockets[0].getsockname()[1]
        print(f"listening on {'wss' if context else 'ws'}://127.0.0.1:{port}/", flush=True)
        await server.serve_forever()


asyncio.run(main())
