"""GenICam cameras through Aravis: finding them, their features, their buffers, and their pixels as 8-bit gray."""
