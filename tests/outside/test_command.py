import pytest
import yaml
from outside_helpers import COMMIT

from remem import __main__, paths


@pytest.fixture
def file(small, tmp_path, monkeypatch):
    """Parameters of the small network and its data."""
    content = yaml.safe_load((paths.PARAMS / "smoke.yaml").read_text())
    network = {"hub": str(small.base), "dtype": "float32"}
    content |= {"models": ["small-7b"], "dataset": {"source": str(small.folder)}}
    content["base"] = {"tower": None, "networks": {"small-7b": network}}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))
    return tmp_path / "small.yaml"


def test_one_command_prints_table_3s_row_beside_the_papers(file, hub, capsys):
    assert __main__.main(["published", "someone/memorised", "--params", str(file)]) == 0
    said = capsys.readouterr().out
    assert f"someone/memorised at {COMMIT}, on small-7b" in said
    lines = {line.split()[0]: line.split() for line in said.splitlines()[2:]}
    assert {"ROUGE", "judge", "EM", "EM_t"} <= {*lines}
    assert all(0 <= float(lines[name][1]) <= 100 for name in ("ROUGE", "EM", "EM_t"))


def test_the_papers_numbers_stand_beside_remems_people_alone(file, hub, capsys):
    drawn = yaml.safe_load(file.read_text())
    drawn["dataset"] = {"image_size": 32, "identities": 4, "single": 7, "multi": 10}
    drawn["dataset"] |= {"source": "synthetic", "test_single": 7, "test_multi": 7}
    file.write_text(yaml.safe_dump(drawn))
    assert __main__.main(["published", "someone/memorised", "--params", str(file)]) == 0
    [line] = [each for each in capsys.readouterr().out.splitlines() if each.split()[0] == "EM"]
    assert float(line.split()[-1]) == 91.5  # of its 7B


def test_what_cannot_be_read_is_an_error_in_a_line(file, published, capsys):
    (published / "adapter_model.safetensors").unlink()
    assert __main__.main(["published", str(published), "--params", str(file)]) == 2
    assert "can run code when they are read" in capsys.readouterr().err
