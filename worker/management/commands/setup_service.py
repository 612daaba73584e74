"""`manage.py setup_service`: everything between an empty database and a service that can start."""

from __future__ import annotations

import hashlib
import socket
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from cases.access import SYSTEM
from cases.services.candidates import candidates_refresh_all
from cases.services.demo import demo_sync
from cases.services.learning import shipped_model_install
from cases.services.people import site_ensure
from cases.services.pulse import pulses_forget
from cases.services.table_rights import append_only_rights_withdraw


def collect_static_if_changed() -> None:
    """Collect and compress the static files, unless that was done for just these files.

    Compressing them again would be most of the time of a second start. Files of the version before
    stay: its web server may still be at work, and their names hold a hash of what they are.
    """
    done = Path(settings.STATIC_ROOT) / "collected.sha256"
    digest = _static_digest()
    if done.exists() and done.read_text() == digest:
        return
    call_command("collectstatic", interactive=False, verbosity=0)
    done.write_text(digest)


def _static_digest() -> str:
    """Over the names, sizes and times of all static files and the versions of all packages."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for name, storage in sorted(finder.list([]), key=lambda found: found[0]):
            stat = Path(storage.path(name)).stat()
            digest.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    for package in sorted(f"{d.name}=={d.version}" for d in distributions()):
        digest.update(package.encode())
    return digest.hexdigest()


class Command(BaseCommand):
    help = "Migrate, collect static files, install the shipped model, set up the demo users."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--no-static",
            action="store_true",
            help="leave the static files as they are (in images they were collected at the build)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        for table, roles in append_only_rights_withdraw().items():
            self.stdout.write(f"{table} can no longer be changed by {', '.join(roles)}")
        if not options["no_static"]:
            collect_static_if_changed()
        pulses_forget(host=socket.gethostname())
        site = site_ensure(actor=SYSTEM, name=settings.BCWEB_SITE_NAME)
        self._install_model()
        # Outcomes that an earlier version recorded; none at a later start.
        candidates_refresh_all(actor=SYSTEM)
        demo_sync(
            path=Path(settings.STATE_DIR) / "demo.json",
            url=settings.BCWEB_URL,
            wanted=settings.BCWEB_DEMO,
            site=site,
        )
        self.stdout.write("set up")

    def _install_model(self) -> None:
        # ml.registry loads no torch for this: the web image can do it.
        from ml import registry
        from ml.errors import ModelFileError

        try:
            card = registry.shipped_card()
            weights = registry.shipped_path().read_bytes()
            model, is_new = shipped_model_install(actor=SYSTEM, weights=weights, card=card)
        except (ModelFileError, OSError, ValueError) as error:
            raise CommandError(f"the model that ships cannot be installed: {error}") from error
        if is_new:
            self.stdout.write(f"installed model {model.version} ({model.state})")
