"""A model in this process that detects in pictures: no Ray, no run folder, no files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Literal, overload

from odtk_ray.api.detections import Detections
from odtk_ray.api.pictures import GivenPicture, take
from odtk_ray.datasets.classes import map_classes
from odtk_ray.errors import OdtkError
from odtk_ray.records import ImageResult, to_bbox
from odtk_ray.settings import Device
from odtk_ray.worker.gpu_trial import is_out_of_memory

if TYPE_CHECKING:
    from odtk_ray.api.pictures import Picture
    from odtk_ray.run.open_detector import OpenDetector


class Detector:
    """A model that is ready to detect; `load` makes it, a `with` block or `close` frees it.

    Several threads may call it at once: their pictures queue for the one engine. A process that is
    forked from this one cannot use it.

    Attributes:
        names: of each class.
        ids: category id of each class, as the output files of `infer` have it.
        device: `gpu` or `cpu`.
        batch: pictures in one launch.
    """

    def __init__(self, opened: OpenDetector) -> None:
        about, settings = opened.model, opened.settings
        classes = map_classes(about.classes, about.class_names, about.category_ids, None)
        self.names: tuple[str, ...] = tuple(classes.names)
        self.ids: tuple[int | str, ...] = tuple(json.loads(text) for text in classes.ids)
        self.device: Device = settings.device
        self.batch = settings.launch_batch
        self._prep, self._inner = settings.preprocessing, opened.detector
        self._key, self._closed = opened.detector.engine_key, False

    def __repr__(self) -> str:
        state = ", closed" if self._closed else ""
        return f"<Detector of {len(self.names)} classes, {self._key}{state}>"

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the device and end all threads; no call may be running."""
        if not self._closed:
            self._closed = True
            self._inner.close()

    # Texts are sequences of texts, too.
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, pictures: Picture
    ) -> Detections: ...

    @overload
    def __call__(
        self, pictures: Sequence[Picture], *, return_errors: Literal[False] = False
    ) -> list[Detections]: ...

    @overload
    def __call__(
        self, pictures: Sequence[Picture], *, return_errors: bool
    ) -> list[Detections | OdtkError]: ...

    def __call__(
        self, pictures: Picture | Sequence[Picture], *, return_errors: bool = False
    ) -> Detections | Sequence[Detections | OdtkError]:
        """Detect in a picture, or in a list of pictures of any number and sizes.

        Args:
            pictures: a path or URI, a picture of Pillow's, or an array, uint8 [height, width, 3],
                RGB; or a list or tuple of those, which are read and decoded beside each other.
            return_errors: of a list, return the error of a picture that cannot be used in its
                place, instead of raising the first one when all others are done.

        Returns:
            the detections; of a list those of each picture, in the same order.

        Raises:
            UsageError: something that was given is no picture; nothing was detected.
            OdtkError: a picture cannot be read or decoded, or the GPU's memory is too small.
        """
        if self._closed:
            raise OdtkError("the detector is closed", hint="load the model again")
        if not isinstance(pictures, (list, tuple)):
            (found,) = self._detect([take(pictures, self._prep)])
            if isinstance(found, OdtkError):
                raise found
            return found
        several = self._detect([take(p, self._prep, i) for i, p in enumerate(pictures)])
        errors = [found for found in several if isinstance(found, OdtkError)]
        if errors and not return_errors:
            raise errors[0]
        return several

    def _detect(self, given: Sequence[GivenPicture]) -> list[Detections | OdtkError]:
        try:
            read = self._inner.read_ahead(picture.load for picture in given)
            results = self._inner.detect_in(read)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            from odtk_ray.run.open_detector import no_room

            raise no_room(self.batch) from error
        return [self._found(p, result) for p, result in zip(given, results, strict=True)]

    def _found(self, picture: GivenPicture, result: ImageResult) -> Detections | OdtkError:
        if result.error is not None:
            return picture.failed(result.error)
        found = result.detections
        return Detections(
            to_bbox(found.boxes),
            found.scores,
            found.classes,
            self.names,
            self.ids,
            result.width,
            result.height,
            picture,
        )
