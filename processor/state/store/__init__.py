"""The stores of one process, each the RocksDB directory of a partition, and the directory that holds them."""

from processor.state.store.directory import StateDirectory, refuse_held
from processor.state.store.rocksdb import Store, StoreResources

__all__ = ["StateDirectory", "Store", "StoreResources", "refuse_held"]
