"""Finds where a grab lies on the strip: by an encoder's counter or by time stamps."""
