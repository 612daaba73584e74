"""`manage.py restore`, for Django's list of commands; manage.py itself runs it before settings."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from bcweb.backup.restore import main, parser


class Command(BaseCommand):
    help = parser().description or ""
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("words", nargs="*", help="see `manage.py restore --help`")

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(main(options["words"]))
