"""What writes the reference pages, the table of licences and the bill of materials."""
