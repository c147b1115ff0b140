"""A camera that sends MJPEG over HTTP. It prints its port.

Arguments: PORT WIDTHxLINES FRAMES_PER_S PICTURES [USER:PASSWORD]. PICTURES: snow (gray noise), strip (little noise),
colour, damaged (every third picture is cut in half), stall (nothing behind the tenth), ends (behind the tenth), junk
(no pictures at all).
"""

import base64
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

import cv2
import numpy as np


def main(port: str, size: str, rate: str, pictures: str, login: str = "") -> None:
    width, lines = map(int, size.split("x"))
    wanted = "Basic " + base64.b64encode(login.encode()).decode()

    def picture(number: int) -> bytes:
        shape = (lines, width, 3) if pictures == "colour" else (lines, width)
        low, high = (80, 100) if pictures == "strip" else (30, 220)
        pixels = np.random.default_rng(number).integers(low, high, shape, dtype=np.uint8)
        data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
        if pictures == "junk":
            return np.random.default_rng(number).bytes(len(data))
        return data[: len(data) // 2] if pictures == "damaged" and number % 3 == 2 else data

    class Camera(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            if login and self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=frame")
            self.end_headers()
            for number in count():
                if number == 10 and pictures == "ends":
                    return
                while number == 10 and pictures == "stall":
                    time.sleep(1)
                data = picture(number)
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + data + b"\r\n")
                except OSError:
                    return
                time.sleep(1 / float(rate))

    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Camera)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
