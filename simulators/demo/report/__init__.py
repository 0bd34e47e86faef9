"""The page that shows a run: pictures (`figures`, `frames`), and the HTML around them (`page`)."""
