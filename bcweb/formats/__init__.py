"""How dates are written in each language (Django's `FORMAT_MODULE_PATH`).

A format is named by what it is in English, as templates write it: `date:"j M Y, H:i T"`. English
therefore needs no module; another language gives its own form under the same name.
"""
