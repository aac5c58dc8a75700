"""Python's websockets as a client: client_websockets.py AUTHORITY.pem NAME=URL..."""

import asyncio

import websockets
from websockets.asyncio.client import connect

from cells import LARGE, PATIENCE, check, trust, visit


async def cells(url, begins):
    options = {"ssl": trust(url), "subprotocols": ["nope", "chat"], "compression": "deflate", "proxy": None}
    async with asyncio.timeout(4 * PATIENCE), connect(url, **options) as ws:
        if begins:
            for cell, answer in (("ping", "pong"), ("fragments", "fragment")):
                await ws.send(cell)
                got = await ws.recv()
                check(cell, got == answer, got)
            await ws.send("close")
            await ws.wait_closed()
            theirs = (ws.close_code, ws.close_reason)
            # Which Close of ours comes is told on the connection behind it.
            async with connect(url, **options) as closing:
                await closing.close(4001, "bye")
            async with connect(url, **options) as asking:
                await asking.send("last")
                ours = await asking.recv()
            check("close", (theirs, ours) == ((4001, "bye"), "4001 bye"), f"{theirs}; ours came as {ours}")
            return

        check("subprotocol", ws.subprotocol == "chat", ws.subprotocol)
        if ws.protocol.extensions:
            check("compression", True)

        texts = ["h\u00e9llo \U0001f600", ""]
        for text in texts:
            await ws.send(text)
        echoed = [await ws.recv() for _ in texts]
        check("text", echoed == texts, echoed)

        await ws.send(b"\0\1\xff")
        echoed = await ws.recv()
        check("binary", echoed == b"\0\1\xff", echoed)

        await ws.send(LARGE)
        echoed = await ws.recv()
        check("1 MiB", echoed == LARGE, f"{len(echoed)} bytes, or others")

        async def fragments():
            yield "fra"
            # Awaited between the fragments: a control frame is answered before the message has ended.
            await asyncio.wait_for(await ws.ping("between"), PATIENCE)
            check("ping", True)
            yield "gment"

        await ws.send(fragments())
        echoed = await ws.recv()
        check("fragments", echoed == "fragment", echoed)

        await ws.close(4001, "bye")
        check("close", ws.close_code == 4001, f"code {ws.close_code}")


asyncio.run(visit(websockets.__version__, cells))
