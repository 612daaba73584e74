"""`manage.py setup_service`: everything between an empty database and a service that can start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from cases.access import SYSTEM
from cases.services.demo import demo_sync
from cases.services.learning import shipped_model_install
from cases.services.people import site_ensure


class Command(BaseCommand):
    help = "Migrate, collect static files, install the shipped model, set up the demo users."

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
        site = site_ensure(actor=SYSTEM, name=settings.BCWEB_SITE_NAME)
        self._install_model()
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
