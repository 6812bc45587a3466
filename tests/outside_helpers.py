"""What the tests of others' adapters change in an adapter's folder."""

import json

from safetensors.torch import load_file, save_file

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def change(file, **keys):
    """Keys of a JSON file; None takes one out."""
    content = json.loads(file.read_text()) | keys
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def rekey(file, **names):
    """The tensors of a file, with parts of their names in place of others."""
    tensors = load_file(file)
    for old, new in names.values():
        tensors = {key.replace(old, new): tensor for key, tensor in tensors.items()}
    save_file(tensors, file, {"format": "pt"})
