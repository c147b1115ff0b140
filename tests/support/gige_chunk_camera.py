"""A GigE Vision line-scan camera on this host that does what Aravis' fake camera does not: it sends chunks, sends
packets again, and names its controller.

    python gige_chunk_camera.py --address 127.0.0.1 --serial LW01 --genicam camera.xml

Its registers are those of Aravis' fake camera; the protocols (GVCP and GVSP of GigE Vision 2.0) are spoken here. Every
frame of `lines` lines carries the encoder's count and the counter of lines at its first line. Every tenth frame is not
sent at all, and before every seventh three lines pass unseen. Every 13th packet of
each third frame is sent only when it is asked for.
"""

import argparse
import select
import socket
import struct
import time

import gi

gi.require_version("Aravis", "0.8")
from gi.repository import Aravis  # noqa: E402

CONTROL, CONTROLLER_PORT, CONTROLLER_ADDRESS, CAPABILITY = 0x0A00, 0x0A04, 0x0A14, 0x0934
STREAM_PORT, PACKET, STREAM_ADDRESS = 0x0D00, 0x0D04, 0x0D18
ACQUISITION, WIDTH, HEIGHT, CHUNKS = 0x0124, 0x0100, 0x0104, 0x0400
"""Registers: of GigE Vision, of Aravis' fake camera, and CHUNKS of this one."""
ENCODER_CHUNK, LINE_CHUNK, IMAGE_CHUNK = 0x1002, 0x1003, 0x1001
COUNTS_PER_LINE = 4
FIRST_COUNT = (1 << 32) - 3000  # the counter rolls over soon
PERIOD_S = 0.02
NOT_SENT = 13
DENIED = 0x8006


class ChunkCamera:
    def __init__(self, address: str, serial: str, description: str) -> None:
        self._registers = Aravis.FakeCamera.new_full(serial, description)
        self._control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._control.bind((address, 3956))
        self._stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._stream.bind((address, 0))
        self._write(0x0024, struct.unpack(">I", socket.inet_aton(address))[0])
        text = self._registers.get_genicam_xml()
        self._description = (text if isinstance(text, str) else text[0]).encode()
        self._write(CAPABILITY, 0x4)  # sends packets again
        self._controller: tuple[str, int] | None = None
        self._packets: dict[tuple[int, int], bytes] = {}  # of the newest frames, by frame and number
        self._frame = self._line = 0

    def run(self) -> None:
        due_s = time.monotonic()
        while True:
            ready, _, _ = select.select([self._control], [], [], max(0.0, due_s - time.monotonic()))
            if ready:
                self._answer(*self._control.recvfrom(2048))
            if time.monotonic() >= due_s:
                due_s = time.monotonic() + PERIOD_S
                if self._read(CONTROL) and self._read(ACQUISITION):
                    self._send_frame()
                else:
                    self._frame = self._line = 0

    def _read(self, register: int) -> int:
        return int(self._registers.read_register(register)[1])

    def _write(self, register: int, value: int) -> None:
        self._registers.write_register(register, value)

    def _answer(self, request: bytes, peer: tuple[str, int]) -> None:
        _, _, command, _, number = struct.unpack_from(">BBHHH", request)
        data = request[8:]
        if command == 0x0080:  # read a register
            found = struct.pack(">I", self._read(struct.unpack_from(">I", data)[0]))
        elif command == 0x0040:  # send packets again; not acknowledged
            _, frame, first, last = struct.unpack_from(">HHII", data)
            for packet in range(first, last + 1):
                self._send(self._packets.get((frame, packet)))
            return
        elif self._controller not in {None, peer}:
            self._control.sendto(struct.pack(">HHHH", DENIED, command + 1, 0, number), peer)
            return
        elif command == 0x0082:  # write a register
            register, value = struct.unpack_from(">II", data)
            self._write(register, value)
            if register == CONTROL:
                self._controlled_by(peer if value else None)
            found = struct.pack(">HH", 0, 1)
        elif command == 0x0084:  # read memory
            at, _, size = struct.unpack_from(">IHH", data)
            words = range(at, at + size, 4)
            found = data[:4] + b"".join(struct.pack(">I", self._read_memory(word)) for word in words)[:size]
        elif command == 0x0086:  # write memory
            (at,) = struct.unpack_from(">I", data)
            for place in range(4, len(data), 4):
                self._write(at + place - 4, struct.unpack_from(">I", data, place)[0])
            found = struct.pack(">HH", 0, len(data) - 4)
        else:
            return
        self._control.sendto(struct.pack(">HHHH", 0, command + 1, len(found), number) + found, peer)

    def _controlled_by(self, peer: tuple[str, int] | None) -> None:
        self._controller = peer
        address, port = peer or ("0.0.0.0", 0)
        self._write(CONTROLLER_ADDRESS, struct.unpack(">I", socket.inet_aton(address))[0])
        self._write(CONTROLLER_PORT, port)

    def _send(self, packet: bytes | None) -> None:
        if packet is not None:
            place = socket.inet_ntoa(struct.pack(">I", self._read(STREAM_ADDRESS)))
            self._stream.sendto(packet, (place, self._read(STREAM_PORT) & 0xFFFF))

    def _read_memory(self, at: int) -> int:
        if at < Aravis.FAKE_CAMERA_MEMORY_SIZE:
            return self._read(at)
        place = at - Aravis.FAKE_CAMERA_MEMORY_SIZE  # the description lies behind the registers
        return int.from_bytes(self._description[place : place + 4].ljust(4, b"\0"), "big")

    def _send_frame(self) -> None:
        width, lines = self._read(WIDTH), self._read(HEIGHT)
        self._frame += 1
        if self._frame % 7 == 0:
            self._line += 3
        first, self._line = self._line, self._line + lines
        if self._frame % 10 == 0:
            return
        image = bytes((first + row) % 200 + 20 for row in range(lines) for _ in range(width))
        data = image
        if self._read(CHUNKS):
            count = (FIRST_COUNT + first * COUNTS_PER_LINE) % (1 << 32)
            data += struct.pack(">II", IMAGE_CHUNK, len(image))
            data += struct.pack(">III", count, ENCODER_CHUNK, 4) + struct.pack(">III", first, LINE_CHUNK, 4)
        kind = 0x4001 if self._read(CHUNKS) else 0x0001
        size = (self._read(PACKET) & 0xFFFF) - 36
        now = time.monotonic_ns()
        leader = struct.pack(">HHII", 0, kind, now >> 32, now & 0xFFFFFFFF)
        leader += struct.pack(">IIIIIHH", 0x01080001, width, lines, 0, 0, 0, 0)
        trailer = struct.pack(">HHI", 0, kind, lines)
        parts = [data[at : at + size] for at in range(0, len(data), size)]
        self._packets = {key: one for key, one in self._packets.items() if key[0] > self._frame - 10}
        for number, (form, part) in enumerate([(1, leader), *((3, one) for one in parts), (2, trailer)]):
            packet = struct.pack(">HHI", 0, self._frame & 0xFFFF, form << 24 | number) + part
            self._packets[self._frame & 0xFFFF, number] = packet
            if self._frame % 3 or (self._frame + number) % NOT_SENT:
                self._send(packet)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--serial", required=True)
    parser.add_argument("--genicam", required=True)
    options = parser.parse_args()
    ChunkCamera(options.address, options.serial, options.genicam).run()


if __name__ == "__main__":
    main()
