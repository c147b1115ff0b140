"""A camera that plays a recorded strip over HTTP as MJPEG: `python -m benchmarks.soak.camera PORT FRAMES_PER_S FOLDER`.

FOLDER holds the recording's JPEGs. While there is a file `damaged` in it, every third picture is cut in half.
"""

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from pathlib import Path

import cv2

from linewatch.config.line import LineSettings
from linewatch.simulation.strip import SimulatedStrip


def record(folder: Path, line: LineSettings, frames: int) -> None:
    """Write the recording: JPEGs of a rendered strip."""
    strip = SimulatedStrip(18, 2 * frames * line.frame_lines * line.mm_per_line / 1e3, 2.0, line)
    folder.mkdir(exist_ok=True)
    for number in range(frames):
        cv2.imwrite(str(folder / f"{number:04}.jpg"), strip.lines(number * line.frame_lines, line.frame_lines))


def main(port: int, frames_per_s: float, folder: Path) -> None:
    pictures = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]

    class _Camera(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=frame")
            self.end_headers()
            due_s = time.monotonic()
            for number, picture in enumerate(cycle(pictures)):
                cut = number % 3 == 2 and (folder / "damaged").exists()
                data = picture[: len(picture) // 2] if cut else picture
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + data + b"\r\n")
                except OSError:
                    return
                due_s += 1 / frames_per_s
                time.sleep(max(0.0, due_s - time.monotonic()))

    server = ThreadingHTTPServer(("127.0.0.1", port), _Camera)
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]))
