from django.apps import AppConfig


class WorkerConfig(AppConfig):
    """The only place where the service and `ml` meet. Loads no torch (inside functions only)."""

    name = "worker"
