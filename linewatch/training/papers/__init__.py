"""The training protocols of the papers, one file for each kind of labels; `study` says what a protocol provides."""
