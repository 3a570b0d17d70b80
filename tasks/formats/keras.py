"""The small classics by name, as Keras hands them out. The first use of each needs the network."""

from __future__ import annotations

import importlib

from tasks.data.dataset import DataError, RawData, Source, samples_of_arrays

# The order of the labels, as the authors of each set published it.
_CLASSES = {
    "mnist": "0 1 2 3 4 5 6 7 8 9",
    "fashion_mnist": "t-shirt trouser pullover dress coat sandal shirt sneaker bag ankle_boot",
    "cifar10": "airplane automobile bird cat deer dog frog horse ship truck",
    "cifar100": (
        "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus "
        "butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach "
        "couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster "
        "house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree "
        "motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear "
        "pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road "
        "rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar "
        "sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip "
        "turtle wardrobe whale willow_tree wolf woman worm"
    ),
}


def read(source: Source) -> RawData:
    """Read one of the sets above: train and test.

    Raises:
        DataError: There is no set of that name, or it could not be fetched.
    """
    name = source.choice(tuple(_CLASSES))
    # Keras itself and not tf-keras: its reader of CIFAR refuses to unpickle anything but arrays.
    module = importlib.import_module(f"keras.datasets.{name}")
    try:
        (x_train, y_train), (x_test, y_test) = module.load_data()
    except Exception as error:  # Keras wraps the failures of urllib in a bare Exception
        raise DataError(
            f"{name} must be in the cache of Keras or on the network, but got: {error}. "
            "Connect once, or set data.format to image_folder, npz or digits."
        ) from error
    classes = tuple(_CLASSES[name].split())
    train = samples_of_arrays("train", x_train, y_train, len(classes))
    test = samples_of_arrays("test", x_test, y_test, len(classes))
    return RawData(name, classes, {"train": train, "test": test})


def check(source: Source) -> None:
    """Refuse a name that is none of the sets above.

    Raises:
        DataError: There is no set of that name.
    """
    source.choice(tuple(_CLASSES))
