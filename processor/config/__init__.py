"""The settings: their models, where their values come from, and the client configurations made of them.

`settings` holds the frozen models (names, defaults, limits, one line of documentation each), `loading` merges the file,
the environment and `--set` and refuses what is wrong, `clients` builds librdkafka's properties, `showing` prints the
settings in force with their origins and with secrets masked.
"""

from processor.config.clients import (
    admin_properties,
    consumer_properties,
    producer_properties,
    reader_properties,
)
from processor.config.loading import Loaded, load_settings
from processor.config.settings import FLUSH_BUDGET_SECONDS, Settings

__all__ = [
    "FLUSH_BUDGET_SECONDS",
    "Loaded",
    "Settings",
    "admin_properties",
    "consumer_properties",
    "load_settings",
    "producer_properties",
    "reader_properties",
]
