"""A few bytes of a given disk format."""

import struct


def image_data(disk_format):
    """Bytes that glance's format inspection takes for disk_format."""
    if disk_format == "qcow2":
        # magic, version 3, no backing file, cluster_bits 16, size 1 GiB,
        # no encryption, l1_size, l1 at, refcount table at, its clusters,
        # snapshots, their offset, incompatible, compatible, autoclear,
        # refcount order, header length
        head = struct.pack(
            ">4sIQIIQIIQQIIQQQQII",
            b"QFI\xfb",
            3,
            0,
            0,
            16,
            1 << 30,
            0,
            2,
            0x30000,
            0x10000,
            1,
            0,
            0,
            0,
            0,
            0,
            4,
            104,
        )
        return head + bytes(0x40000 - len(head))
    return b"sandbox image\n" * 64
