"""From a camera, recording or folder to frames in the ring."""

import os

import cv2

# What OpenCV and FFmpeg cannot decode is a counted fault or a SourceError here; their own lines on stderr say it again,
# in other words, in the middle of our log. A user who wants them sets the variables.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
if "OPENCV_LOG_LEVEL" not in os.environ:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
