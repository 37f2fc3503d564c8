"""What a good user writes without odtk-ray: torchvision's RetinaNet over a folder, with Ray Data.

    python jobs/bench/ray_data_pipeline.py photos/ detections/ --weights weights.pth

`ray_data.py` times it beside odtk-ray.
"""

from __future__ import annotations

from typing import Any

import click
import numpy as np
import pyarrow as pa


class Detector:
    """The actor that holds the network: FP16 on a GPU, FP32 on a CPU."""

    def __init__(self, weights: str, classes: int, resize: int) -> None:
        import torch
        from torchvision.models.detection import retinanet_resnet50_fpn

        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network = retinanet_resnet50_fpn(
            weights=None,
            weights_backbone=None,
            num_classes=classes,
            min_size=resize,
            max_size=resize * 1333 // 800,
            detections_per_img=100,
        )
        network.load_state_dict(torch.load(weights, weights_only=True))
        self._network = network.eval().to(self._device, memory_format=torch.channels_last)

    def __call__(self, batch: dict[str, Any]) -> pa.Table:
        """Detect in a batch of pictures, uint8 [height, width, 3] each."""
        import torch

        pictures = [
            torch.from_numpy(np.ascontiguousarray(pixels)).to(self._device).permute(2, 0, 1) / 255
            for pixels in batch["image"]
        ]
        half = torch.autocast(self._device.type, torch.float16, enabled=self._device.type == "cuda")
        with torch.inference_mode(), half:
            found = self._network(pictures)
        columns = {
            name: [row[name].float().cpu().numpy().tolist() for row in found]
            for name in ("boxes", "scores", "labels")
        }
        return pa.table({"path": list(batch["path"]), **columns})


@click.command()
@click.argument("images")
@click.argument("output")
@click.option("--weights", required=True)
@click.option("--classes", type=click.IntRange(1), default=80, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True)
@click.option("--resize", type=click.IntRange(1), default=800, show_default=True)
@click.option("--gpus", type=click.IntRange(0), default=1, show_default=True)
def main(
    images: str, output: str, weights: str, classes: int, batch: int, resize: int, gpus: int
) -> None:
    """Detect in the IMAGES of a folder, and write Parquet files to the folder OUTPUT."""
    import ray

    ray.init(address="local", include_dashboard=False)
    found = ray.data.read_images(images, mode="RGB", include_paths=True).map_batches(
        Detector,
        fn_constructor_kwargs={"weights": weights, "classes": classes, "resize": resize},
        batch_size=batch,
        num_gpus=1 if gpus else 0,
        compute=ray.data.ActorPoolStrategy(size=max(gpus, 1)),
    )
    found.write_parquet(output)


if __name__ == "__main__":
    main()
