"""Where a grab lies on the strip: by an encoder's counter, by time stamps, or by lines alone."""
