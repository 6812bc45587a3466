# pandas ships annotations, but "table[...]" is a frame, a series or a cell in them: hundreds of
# false alarms. So its values count as of any type; what is around them is checked.
from typing import Any

def __getattr__(name: str) -> Any: ...
