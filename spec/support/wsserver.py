# A websocket server for specs, by python3-websockets: python3 wsserver.py CERT KEY. What
# it hears it says; "bye" is answered with a Close frame of code 4002. Prints its port.
import asyncio
import ssl
import sys

import websockets


async def echo(socket):
    async for message in socket:
        if message == "bye":
            await socket.close(4002, "as you say")
            return
        await socket.send(message)


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    async with websockets.serve(echo, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        print(f"port={port} ready", flush=True)
        await asyncio.Future()


asyncio.run(main())
