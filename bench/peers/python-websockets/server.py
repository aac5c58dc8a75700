"""Python's websockets: the echo of its documentation on asyncio, with the C extension of its wheels.

Started as the Rust servers are: [--port N] [--deflate] [--tls CERT KEY]. There is no batched mode: a message is one write.
"""

import argparse
import asyncio
import ssl
import sys

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

MESSAGE_LIMIT = 64 << 20


async def echo(connection: ServerConnection) -> None:
    try:
        async for message in connection:
            await connection.send(message)
    except ConnectionClosed:
        pass


def deflate() -> list[ServerPerMessageDeflateFactory]:
    """No context takeover; level 6, which is zlib's default, and the memory that the library uses itself."""
    return [
        ServerPerMessageDeflateFactory(
            server_no_context_takeover=True,
            client_no_context_takeover=True,
            compress_settings={"level": 6, "memLevel": 5},
        )
    ]


async def run(arguments: argparse.Namespace) -> None:
    context = None
    if arguments.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*arguments.tls)
    server = await serve(
        echo,
        "127.0.0.1",
        arguments.port,
        ssl=context,
        compression=None,
        extensions=deflate() if arguments.deflate else None,
        max_size=MESSAGE_LIMIT,
        # No other server here sends pings of its own.
        ping_interval=None,
        backlog=4096,
    )
    async with server:
        print(f"listening 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await server.wait_closed()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python-websockets")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--deflate", action="store_true")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    parser.add_argument("--batched", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.batched:
        print("python-websockets offers no way to send several messages in one write.", file=sys.stderr)
        return 2
    asyncio.run(run(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
