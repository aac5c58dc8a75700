"""Python's aiohttp as an echo server: server_aiohttp.py [CERTIFICATES]

With a directory of certificates it serves wss:. The message "close" is answered by a Close frame with code 4001 and the
reason "bye".
"""

import asyncio
import pathlib
import ssl
import sys

from aiohttp import WSMsgType, web


async def echo(request):
    ws = web.WebSocketResponse(protocols=["chat"], compress=True)
    await ws.prepare(request)
    async for message in ws:
        if message.data == "close":
            await ws.close(code=4001, message=b"bye")
        elif message.type == WSMsgType.TEXT:
            await ws.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await ws.send_bytes(message.data)
    return ws


async def main():
    context = None
    if len(sys.argv) > 1:
        certificates = pathlib.Path(sys.argv[1])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    application = web.Application()
    application.router.add_get("/", echo)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    port = runner.addresses[0][1]
    print(f"listening on {'wss' if context else 'ws'}://127.0.0.1:{port}/", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
