"""Python's aiohttp as a client: client_aiohttp.py AUTHORITY.pem NAME=URL..."""

import asyncio

import aiohttp

from cells import LARGE, PATIENCE, check, trust, visit


async def cells(url, begins):
    options = {"ssl": trust(url) or True, "protocols": ("nope", "chat"), "compress": 15, "autoping": begins}
    async with aiohttp.ClientSession() as session, session.ws_connect(url, **options) as ws:
        if begins:
            for cell, answer in (("ping", "pong"), ("fragments", "fragment")):
                await ws.send_str(cell)
                got = await ws.receive_str(timeout=PATIENCE)
                check(cell, got == answer, got)
            await ws.send_str("close")
            end = await ws.receive(PATIENCE)
            # Which Close of ours comes is told on the connection behind it.
            async with session.ws_connect(url, **options) as closing:
                await closing.close(code=4001, message=b"bye")
            async with session.ws_connect(url, **options) as asking:
                await asking.send_str("last")
                ours = await asking.receive_str(timeout=PATIENCE)
            good = (end.data, end.extra, ours) == (4001, "bye", "4001 bye")
            check("close", good, f"{end}; ours came as {ours}")
            return

        check("subprotocol", ws.protocol == "chat", ws.protocol)
        if ws.compress:
            check("compression", True)

        texts = ["h\u00e9llo \U0001f600", ""]
        for text in texts:
            await ws.send_str(text)
        echoed = [await ws.receive_str(timeout=PATIENCE) for _ in texts]
        check("text", echoed == texts, echoed)

        await ws.send_bytes(b"\0\1\xff")
        echoed = await ws.receive_bytes(timeout=PATIENCE)
        check("binary", echoed == b"\0\1\xff", echoed)

        await ws.send_bytes(LARGE)
        echoed = await ws.receive_bytes(timeout=PATIENCE)
        check("1 MiB", echoed == LARGE, f"{len(echoed)} bytes, or others")

        await ws.ping(b"between")
        answer = await ws.receive(PATIENCE)
        check("ping", answer.type == aiohttp.WSMsgType.PONG and answer.data == b"between", answer)

        await ws.close(code=4001, message=b"bye")
        check("close", ws.close_code == 4001, f"code {ws.close_code}")


asyncio.run(visit(aiohttp.__version__, cells))
