"""A camera that speaks RTSP: asks for a user, then sends a video as MPEG-TS over the same TCP connection."""

from __future__ import annotations

import base64
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TS_PACKET = 188
SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:t\r\n"


@contextmanager
def rtsp_camera(video: Path, credentials: str) -> Iterator[int]:
    """Serve the MPEG-TS file to whoever knows "user:password"; the port."""
    stream = video.read_bytes()
    basic = "Basic " + base64.b64encode(credentials.encode()).decode()

    class Connection(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):  # the reader hangs up when it has enough
                while lines := self.request_lines():
                    self.answer(lines)

        def request_lines(self) -> list[str]:
            lines: list[str] = []
            while line := self.rfile.readline().decode().strip():
                lines.append(line)
            return lines

        def answer(self, lines: list[str]) -> None:
            method = lines[0].split()[0]
            headers = dict(line.split(": ", 1) for line in lines[1:])
            status, extra, body = "200 OK", "Session: 1", ""
            if method == "DESCRIBE" and headers.get("Authorization") != basic:
                status, extra = "401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"'
            elif method == "DESCRIBE":
                extra, body = "Content-Type: application/sdp", SDP
            elif method == "SETUP":
                extra = f"Session: 1\r\nTransport: {headers['Transport']}"
            head = f"RTSP/1.0 {status}\r\nCSeq: {headers['CSeq']}\r\n{extra}\r\nContent-Length: {len(body)}\r\n\r\n"
            self.wfile.write((head + body).encode())
            if method == "PLAY":
                self.play()

        def play(self) -> None:
            for number, start in enumerate(range(0, len(stream), 7 * TS_PACKET)):
                packet = (
                    struct.pack(">BBHII", 0x80, 33, number, 3000 * number, 1) + stream[start : start + 7 * TS_PACKET]
                )
                self.wfile.write(b"$\0" + struct.pack(">H", len(packet)) + packet)
                time.sleep(0.005)

    socketserver.ThreadingTCPServer.daemon_threads = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
