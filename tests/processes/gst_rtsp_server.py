"""GStreamer's RTSP server as a process: `/usr/bin/python3 gst_rtsp_server.py CONFIG`.

Only Debian's own Python has GStreamer's bindings, so this script imports nothing of ours. `tests.processes.rtsp_server`
writes its configuration, a JSON file. Each mount is a video that is sent live and again and again: frame `n` of `N` is
sent whenever the number of frames since 1970 is `n` modulo `N`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import gi

PAYLOADERS = {
    "h264": "h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1",
    "hevc": "h265parse ! rtph265pay name=pay0 pt=96 config-interval=-1",
    "mjpeg": "jpegparse ! rtpjpegpay name=pay0 pt=26",
}
CAPS = {
    "h264": "video/x-h264,stream-format=byte-stream,alignment=au",
    "hevc": "video/x-h265,stream-format=byte-stream,alignment=au",
    "mjpeg": "image/jpeg",
}


def serve(config: dict[str, Any]) -> None:
    """Serve until the process is ended."""
    for name in ("Gst", "GstRtsp", "GstRtspServer"):
        gi.require_version(name, "1.0")
    from gi.repository import GLib, Gst, GstRtspServer

    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address(config.get("address", "127.0.0.1"))
    server.set_service(str(config["port"]))
    if config["user"] or config["certificate"]:
        server.set_auth(build_auth(config))
    mounts = server.get_mount_points()
    for path, video in config["mounts"].items():
        factory = GstRtspServer.RTSPMediaFactory.new()
        shown = json.loads(Path(video).read_text())
        caps = f"{CAPS[shown['codec']]},width={shown['width']},height={shown['height']},framerate={shown['rate']}/1"
        source = f"appsrc name=frames is-live=true do-timestamp=true format=time caps={caps}"
        factory.set_launch(f"( {source} ! {PAYLOADERS[shown['codec']]} )")
        factory.set_shared(True)
        factory.connect("media-configure", lambda _, media, video=video: start_pushing(media, Path(video)))
        if config["user"] or config["certificate"]:
            permissions = GstRtspServer.RTSPPermissions()
            for permission in ("media.factory.access", "media.factory.construct"):
                permissions.add_permission_for_role("camera", permission, True)
            factory.set_permissions(permissions)
        mounts.add_factory(path, factory)
    if not server.attach(None):
        raise SystemExit(f"port {config['port']} is taken")
    GLib.MainLoop().run()


def build_auth(config: dict[str, Any]) -> Any:
    """Users, passwords and TLS of the server."""
    from gi.repository import Gio, GstRtsp, GstRtspServer

    auth = GstRtspServer.RTSPAuth.new()
    if config["certificate"]:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(*config["certificate"]))
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "camera")
    if not config["user"]:
        auth.set_default_token(token)
    elif config["method"] == "basic":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        auth.add_basic(auth.make_basic(config["user"], config["password"]), token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(config["user"], config["password"], token)
    return auth


def start_pushing(media: Any, video: Path) -> None:
    """Send a video's frames to a media that a first client has asked for, until its last client has gone."""
    source = media.get_element().get_child_by_name("frames")
    threading.Thread(target=push_frames, args=(source, video), daemon=True).start()


def push_frames(source: Any, video: Path) -> None:
    """Send each frame when its time has come, from the next one on, until the media refuses one."""
    from gi.repository import Gst

    shown = json.loads(video.read_text())
    data = video.with_suffix(".bin").read_bytes()
    starts = [0]
    for length in shown["lengths"]:
        starts.append(starts[-1] + length)
    number = int(time.time() * shown["rate"]) + 1
    while True:
        index = number % len(shown["lengths"])
        time.sleep(max(0.0, number / shown["rate"] - time.time()))
        buffer = Gst.Buffer.new_wrapped(data[starts[index] : starts[index + 1]])
        if source.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
            return
        number += 1


if __name__ == "__main__":
    serve(json.loads(Path(sys.argv[1]).read_text()))
