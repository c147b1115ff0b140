"""An RTSP camera by GStreamer's server. Run it with the system's Python, which has PyGObject; it prints its port.

Arguments: PORT WIDTHxLINES FRAMES_PER_S PATTERN CODEC [USER:PASSWORD]. Port 0: a free one.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

CODECS = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 bitrate=20000 ! rtph264pay name=pay0",
    "mjpeg": "jpegenc quality=95 ! rtpjpegpay name=pay0",
}


def main(port: str, size: str, rate: str, pattern: str, codec: str, login: str = "") -> None:
    Gst.init(None)
    width, lines = size.split("x")
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f"( videotestsrc is-live=true pattern={pattern} ! "
        f"video/x-raw,format=I420,width={width},height={lines},framerate={rate}/1 ! {CODECS[codec]} pt=96 )"
    )
    factory.set_shared(True)
    if login:
        user, _, password = login.partition(":")
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
        factory.add_role_from_structure(
            Gst.Structure.new_from_string(
                "user, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
            )
        )
    server.get_mount_points().add_factory("/strip", factory)
    if not server.attach(None):
        sys.exit(f"port {port} is taken")
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
