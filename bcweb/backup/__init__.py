"""One file that holds a whole service: its database with all bytes, its keys, its folders.

`manage.py backup` writes it while the service runs; `manage.py restore` makes a new state folder
of it. Standard library only, like bcweb.embedded: a restore must not depend on settings or on what
else is installed. docs/adr/0009 tells why it is made this way.
"""
