"""One file per kind of object. Views check the request, call services and selectors, and answer."""
