from django.apps import AppConfig


class CasesConfig(AppConfig):
    name = "cases"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Connect sign-in and second factors to the audit trail.
        from cases import account_signals, signals  # noqa: F401
