"""YuNet's network, run by OpenVINO: what it sees in a picture, as rows of numbers.

The network says for each cell of three grids, 8, 16 and 32 pixels wide, how likely a face has its middle
there, and where its box and its landmarks are (W. Wu, H. Peng, S. Yu: YuNet: A Tiny Millisecond-level Face
Detector, 2023). OpenCV's `FaceDetectorYN` reads it in the same way, and takes more than twice as long.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facesearch.machine import processors
from facesearch.models.openvino import (
    cache_folder,
    compile_network,
    load_openvino,
    read_network,
    run_first,
    use_of_cores,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRIDES = (8, 16, 32)
_OUTPUTS = ("cls", "obj", "bbox", "kps")
# Small pictures are filled up to a square of one of these sides, each with a network of its own: one network
# for all sizes takes a millisecond or two to change from size to size, as long as it takes for the picture.
# 224 and 320 are what the detector's closer looks have, 256 is for the photos of many data sets.
SQUARES = (128, 224, 256, 320, 480)
# Larger ones are filled up to a multiple of this: a size that is new takes half as long again.
LARGE_STEP = 64
# OpenVINO keeps what it has prepared for a size of picture. Without this limit, 400 sizes took 1.2 GB, with
# it 0.3.
_PREPARED = "400"


class YuNetNetwork:
    """Runs the network on pictures of any size; several threads may call it at once.

    It is compiled when it is called: for one picture over all cores, which answers soonest, or for several
    pictures at once, a core each.

    Args:
        network: The network as ONNX.
        key: What tells it from other networks.
        least_score: What scores less is no face.
        same: Of boxes that share so much (intersection over union), only the best is returned.
        most: The most faces that are returned.
    """

    def __init__(self, network: bytes, key: str, *, least_score: float, same: float, most: int) -> None:
        self._network, self._key = network, key
        self._least_score, self._same, self._most = least_score, same, most
        self._own = threading.local()
        self._lock = threading.Lock()
        self._compiled: dict[tuple[int, int], Any] = {}

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return a row for each face, the surest first.

        Args:
            image: (height, width, 3) BGR uint8.

        Returns:
            (n, 15) float32: left, upper edge, width and height of the box, x and y of right eye, left eye,
            nose and the corners of the mouth, and the score, in pixels of `image`.
        """
        square = next((side for side in SQUARES if side >= max(image.shape)), 0)
        below, right = (square - side if square else -side % LARGE_STEP for side in image.shape[:2])
        if below or right:
            image = np.asarray(cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT), np.uint8)
        request, outputs = self._request(square)
        request.infer([np.ascontiguousarray(image)[None]], share_inputs=True)
        rows = [
            self._rows(
                image.shape[1] // stride, stride, *(request.get_tensor(port).data[0] for port in ports)
            )
            for stride, ports in outputs.items()
        ]
        return self._best(np.concatenate(rows))

    def _rows(
        self,
        columns: int,
        stride: int,
        cls: NDArray[np.float32],
        obj: NDArray[np.float32],
        bbox: NDArray[np.float32],
        kps: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return the rows of one grid.

        Args:
            columns: How many cells are side by side.
            stride: How wide a cell is, in pixels.
            cls: (cells, 1), how likely what is there is a face.
            obj: (cells, 1), how well its box is known.
            bbox: (cells, 4), the box: its middle in cells from the cell's corner, and the logarithms of width
                and height in cells.
            kps: (cells, 10), the landmarks in cells from the cell's corner.
        """
        scores = np.sqrt(np.clip(cls[:, 0], 0, 1) * np.clip(obj[:, 0], 0, 1))
        cells = np.flatnonzero(scores >= self._least_score)
        corners = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32)
        middles = (bbox[cells, :2] + corners) * stride
        sizes = np.exp(bbox[cells, 2:]) * stride
        landmarks = (kps[cells] + np.tile(corners, 5)) * stride
        return np.hstack([middles - sizes / 2, sizes, landmarks, scores[cells, None]]).astype(np.float32)

    def _best(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the best row of each face, the surest first."""
        rows = rows[np.isfinite(rows).all(axis=1)]
        if len(rows) < 2:
            return rows
        kept = cv2.dnn.NMSBoxes(
            rows[:, :4].astype(int).tolist(), rows[:, 14].tolist(), 0.0, self._same, top_k=self._most
        )
        return rows[np.asarray(kept, np.intp)]

    def _request(self, square: int) -> tuple[Any, dict[int, list[Any]]]:
        """Return this thread's way to run the network, and the places of its outputs by grid."""
        # The pipeline lets cv2 use one core a call while photos are worked on in parallel; so does this.
        streams = processors() if cv2.getNumThreads() == 1 else 1
        # A request serves one thread at a time; the compiled network is shared.
        requests: dict[tuple[int, int], Any] = self._own.__dict__.setdefault("requests", {})
        if (streams, square) not in requests:
            network = self._compiled_for(streams, square)
            outputs = {
                stride: [network.output(f"{name}_{stride}") for name in _OUTPUTS] for stride in STRIDES
            }
            requests[streams, square] = network.create_infer_request(), outputs
        found: tuple[Any, dict[int, list[Any]]] = requests[streams, square]
        return found

    def _compiled_for(self, streams: int, square: int) -> Any:  # noqa: ANN401 (OpenVINO has no types)
        with self._lock:
            if (streams, square) not in self._compiled:
                settings = {
                    **use_of_cores(streams, processors()),
                    "INFERENCE_PRECISION_HINT": "f32",  # its scores are compared with fixed numbers
                    "CPU_RUNTIME_CACHE_CAPACITY": _PREPARED,
                }
                network = _network(self._network).clone()
                network.reshape([1, square or -1, square or -1, 3])
                cache = cache_folder(self._key)
                compiled = compile_network(network, "CPU", settings, cache)
                run_first(compiled, np.zeros((1, square or LARGE_STEP, square or LARGE_STEP, 3), np.uint8))
                self._compiled[streams, square] = compiled
            return self._compiled[streams, square]


@cache
def _network(network: bytes) -> Any:  # noqa: ANN401
    """Return the network for pictures of (1, height, width, 3) uint8."""
    openvino = load_openvino()
    from openvino.preprocess import PrePostProcessor

    model = read_network(network)
    model.reshape([1, 3, -1, -1])
    prepared = PrePostProcessor(model)
    prepared.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    prepared.input().model().set_layout(openvino.Layout("NCHW"))
    return prepared.build()
