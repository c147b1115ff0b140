"""From the pixels of one frame to defects that live over many."""
