"""The engine's process with a narrow network, for models that tests have trained."""

from __future__ import annotations

from functools import partial


def main() -> None:
    from torchvision.models import resnet50

    import ml.model
    from worker import engine_child

    ml.model.resnet50 = partial(resnet50, width_per_group=4)
    engine_child.main()


if __name__ == "__main__":
    main()
