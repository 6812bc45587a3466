"""The parameters: their schema, how they are read, and what is said when one is wrong."""

from remem.config.explain import BadParameter
from remem.config.loading import load_config
from remem.config.sections import SCALES, Config
