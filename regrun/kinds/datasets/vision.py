"""Image sets through torchvision, as whole uint8 tensors: no picture is decoded on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from regrun.errors import CorruptInputError
from regrun.kinds.datasets.base import DatasetSection, Progress, Subset, Task

if TYPE_CHECKING:
    from pathlib import Path

    from regrun.data.dataset import Dataset


class VisionDataset(Subset, DatasetSection):
    """Keys of the image sets that come through torchvision."""

    origin: ClassVar[str] = "torchvision"
    fixed_task: ClassVar[Task | None] = "classification"
    num_examples: ClassVar[int]
    num_pixels: ClassVar[int]
    """Of one image, all channels."""
    torchvision_class: ClassVar[str]
    """Its name in `torchvision.datasets`."""

    root: str | None = None
    """Folder as torchvision lays it out. Default: `REGRUN_DATA`, else `data/`, else a download."""

    def estimate_bytes(self) -> int:
        return self.num_examples * (self.num_pixels + 8)

    def _torchvision(self) -> Any:
        """The class of torchvision that reads these files."""
        from regrun.data.images import torchvision_datasets

        return getattr(torchvision_datasets(self.name), self.torchvision_class)

    def _find_or_download(self, reader: Any, files: list[str], progress: Progress | None) -> Path:
        from regrun.data.files import find_or_download

        def by_hand(folder: Path, searched: list[Path]) -> str:
            places = ", ".join(f"{place}/" for place in dict.fromkeys(searched))
            listed = "\n".join(f"  {folder / file}" for file in files)
            return (
                f"{self.name} is not in {places}; put these files there, or name their folder by "
                f"dataset.root or REGRUN_DATA:\n{listed}"
            )

        def announce(folder: Path) -> None:
            if progress is not None:
                progress(f"downloading {self.name} to {folder}/")

        def fetch(folder: Path) -> None:
            reader(folder, download=True)

        return find_or_download(self.root, files, fetch, by_hand, announce)


class IDXDataset(VisionDataset):
    """MNIST and the sets that took its format: uint8 (N, 1, 28, 28), 10 classes."""

    files: ClassVar[tuple[str, ...]] = (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    )
    num_examples: ClassVar[int] = 70_000
    num_pixels: ClassVar[int] = 784

    def load(self, progress: Progress | None = None) -> Dataset:
        """Check the IDX files, which torchvision reads without naming a damaged one."""
        from regrun.data.dataset import Examples, Provenance, Split
        from regrun.data.files import notes_on_place
        from regrun.data.images import check_idx_pair

        reader = self._torchvision()
        files = [f"{self.torchvision_class}/raw/{file}" for file in self.files]
        root = self._find_or_download(reader, files, progress)
        for images, labels in (files[:2], files[2:]):
            check_idx_pair(root / images, root / labels, len(reader.classes))

        parts = reader(root, train=True), reader(root, train=False)
        train, test = (Split(part.data[:, None], part.targets) for part in parts)
        came = Provenance(files=tuple(str(root / file) for file in files))
        notes = notes_on_place(self.root, root, self.name)
        return self._split(
            Examples(
                "classification",
                train,
                test,
                class_names=reader.classes,
                notes=notes,
                provenance=came,
            )
        )


class MNIST(IDXDataset):
    """60,000 + 10,000 handwritten digits, 28×28 grey, 10 classes."""

    torchvision_class: ClassVar[str] = "MNIST"
    name: Literal["mnist"]


class FashionMNIST(IDXDataset):
    """60,000 + 10,000 pieces of clothing, 28×28 grey, 10 classes."""

    torchvision_class: ClassVar[str] = "FashionMNIST"
    name: Literal["fashion_mnist"]


class KMNIST(IDXDataset):
    """60,000 + 10,000 Kuzushiji characters, 28×28 grey, 10 classes."""

    torchvision_class: ClassVar[str] = "KMNIST"
    name: Literal["kmnist"]


class CIFAR10(VisionDataset):
    """50,000 + 10,000 photographs, 32×32 colour, 10 classes."""

    files: ClassVar[tuple[str, ...]] = (
        *(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta",
    )  # fmt: skip
    num_examples: ClassVar[int] = 60_000
    num_pixels: ClassVar[int] = 3072
    torchvision_class: ClassVar[str] = "CIFAR10"
    name: Literal["cifar10"]

    def load(self, progress: Progress | None = None) -> Dataset:
        """uint8 (N, 3, 32, 32). The files are pickles; torchvision checks their md5 first."""
        import torch

        from regrun.data.dataset import Examples, Provenance, Split
        from regrun.data.files import notes_on_place

        reader = self._torchvision()
        files = [f"{reader.base_folder}/{file}" for file in self.files]
        root = self._find_or_download(reader, files, progress)

        try:
            parts = reader(root, train=True), reader(root, train=False)
        except RuntimeError as error:
            self._check_md5(reader, root, error)
            raise
        train, test = (
            Split(
                torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(),
                torch.tensor(part.targets),
            )
            for part in parts
        )
        came = Provenance(files=tuple(str(root / file) for file in files))
        return self._split(
            Examples(
                "classification",
                train,
                test,
                class_names=parts[0].classes,
                notes=notes_on_place(self.root, root, self.name),
                provenance=came,
            )
        )

    def _check_md5(self, reader: Any, root: Path, error: RuntimeError) -> None:
        """Raise CorruptInputError for a damaged file: torchvision does not say which it was."""
        from torchvision.datasets.utils import check_integrity

        meta = [reader.meta["filename"], reader.meta["md5"]]
        for file, md5 in [*reader.train_list, *reader.test_list, meta]:
            path = root / reader.base_folder / file
            if not check_integrity(path, md5):
                raise CorruptInputError(
                    f"{path}: its md5 is not {md5}; delete it to download it again"
                ) from error
