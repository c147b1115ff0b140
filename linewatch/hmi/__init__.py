"""The page in a browser: a client of the wire and a reader of the history, in a process of its own.

The line does not notice whether it runs. A page is one module in `pages/`, one line in `registry.py`, a template
`templates/NAME.html` and, where it has them, `static/NAME.js` and `static/NAME.css`; docs/extending.md shows one.

Everything else is shared. `page.py`: what a page consists of, and `Asked`, which its functions get. `access/`: who may
look and act; a page states roles and checks none. `feed/`: the view of the service that every browser is sent.
`commands.py`: commands in a person's name. `records.py`: queries of the history. `texts.py`: English and German. In
`static/`: `feed.js` (what happens, and whether it is live), `ask.js` (data and actions), `dom.js`, `texts.js`,
`palette.js` (colours and shapes of classes), `table.js`, `chart.js`, `dialog.js`, and the look in `base.css`.

The browser gets no script and no style but our own files, so text that comes from outside can run nothing; scripts make
elements by `dom.js` and set their text.
"""
