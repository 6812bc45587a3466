import json

import pytest
from PIL import Image

from remem.model import pictures
from remem.model.pictures import Layout, prepare

ONE = Layout("<image>", 3, (4,))
ROWS = Layout("<row_1><image><row_2><image>\n", 3, (2, 3), (("image_grid_thw", (1, 2, 4)),))


def test_pictures_are_prepared_together_as_the_processor_makes_them(llava):
    images = [Image.effect_noise(size, 50).convert("RGB") for size in ((32, 32), (40, 20))]
    found = prepare(llava.processor, llava.kind.token, images)
    assert found.layouts == [Layout("<image>", llava.processor.image_token_id, (4,))] * 2
    whole = llava.processor(images=images, text=["<image>"] * 2, return_tensors="pt")
    assert (found.pixels["pixel_values"] == whole["pixel_values"]).all()


@pytest.mark.parametrize(
    ("text", "short", "runs"),
    [
        ("<i><i><i>", "<i>", (3,)),
        ("<row_1><i><i>\n<row_2><i><i><i>", "<row_1><i>\n<row_2><i>", (2, 3)),
        ("", "", ()),
        ("i<i>", "i<i>", (1,)),
    ],
)
def test_a_row_of_image_tokens_is_written_once(text, short, runs):
    assert tuple(pictures._short(text, "<i>", 7)) == (short, 7, runs)
    assert Layout(short, 7, runs).count == text.count("<i>")


def test_the_features_say_how_long_the_one_row_of_older_processors_is():
    assert pictures.fitted([ONE, ONE], 8) == [ONE, ONE]
    assert pictures.fitted([ONE, ONE], 10) == [ONE._replace(runs=(5,))] * 2
    assert pictures.fitted([ROWS, ONE], 9) == [ROWS, ONE]
    for layouts, count in (([ONE, ONE], 9), ([ROWS], 6), ([ROWS, ONE], 10)):
        with pytest.raises(ValueError, match=rf"and the network has {count} features of them"):
            pictures.fitted(layouts, count)


def test_layouts_are_kept_as_json():
    layouts = [ONE, ROWS, ONE, ROWS, ROWS]
    kept = json.loads(json.dumps(pictures.as_json(layouts)))
    assert len(kept["layouts"]) == 2 and kept["of"] == [0, 1, 0, 1, 1]
    assert pictures.from_json(kept) == layouts
