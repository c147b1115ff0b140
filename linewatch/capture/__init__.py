"""From a camera, recording or folder to checked frames in the frame ring."""

import os

import cv2

# Input that cannot be decoded is counted as a fault or raised as SourceError. OpenCV and FFmpeg would report it again
# on stderr, in the middle of the service's log; set the variables to see their messages.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
if "OPENCV_LOG_LEVEL" not in os.environ:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
