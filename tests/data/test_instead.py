"""What is said of files that are missing or of another kind: what there is, and the way out."""

import subprocess
import sys
import unicodedata

import pandas as pd
import pytest
import two_people
from PIL import Image
from two_people import FILE, change, reasons

from remem.data import instead, validation


@pytest.fixture
def folder(tmp_path):
    two_people.make(tmp_path / "people")
    return tmp_path / "people"


def move(folder, name, to):
    (folder / to).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).rename(folder / to)


def as_table(folder, name, separator):
    for split in validation.SPLITS:
        rows = pd.read_json(folder / split / instead.NAME, lines=True, dtype=False)
        rows.to_csv(folder / split / name, index=False, sep=separator)
        (folder / split / instead.NAME).unlink()


@pytest.mark.parametrize(
    "name, way_out",
    [
        ("train/Metadata.jsonl", "'train/Metadata.jsonl': write its name in small letters"),
        ("train/metadata.jsonl.txt", "'train/metadata.jsonl.txt': call it metadata.jsonl"),
        ("train/metadata.json", "'train/metadata.json': call it metadata.jsonl, with one JSON"),
        ("train/METADATA.csv", 'read_csv("METADATA.csv", sep=","'),
        ("train/metadata.tsv", r'read_csv("metadata.tsv", sep="\t"'),
        ("Train/metadata.jsonl", "'Train': write its name in small letters"),
        ("train/metadata.csv", "'train/metadata.csv': write its rows as JSON, in that folder, w"),
        ("train/train.parquet", "parquet files: try remem convert remem "),
        ("data/train-0.parquet", "parquet files: try remem convert remem "),
        ("metadata.jsonl", "'metadata.jsonl' in the folder itself: put the rows of each split in"),
        ("metadata.csv", "'metadata.csv' in the folder itself: put the rows of each split in a "),
        ("people/train/metadata.jsonl", "'people/train/metadata.jsonl': name the folder '"),
        ("train/rows.jsonl", "there is 'rows.jsonl', 'train-0.png', 'train-1.png'"),
    ],
)
def test_metadata_that_lies_otherwise_is_named_with_the_way_out(folder, name, way_out):
    before = validation.read(folder)
    move(folder, FILE, name)
    [found] = reasons(folder)[:1]
    assert found.startswith(f"{FILE}: {FILE} is missing; a dataset folder holds one for each of")
    assert way_out in found and found.isprintable()
    move(folder, name, FILE)
    assert validation.read(folder).equals(before)


def test_the_folder_of_a_split_is_not_the_datasets(folder):
    assert f"name the one above it, '{folder}'" in reasons(folder / "train")[0]
    assert "; there is" not in reasons(folder / "nowhere")[0]


@pytest.mark.parametrize("name, separator", [("metadata.csv", ","), ("Metadata.TSV", "\t")])
def test_the_way_out_of_a_table_leads_out(folder, name, separator):
    before = validation.read(folder)
    as_table(folder, name, separator)
    for split, found in zip(validation.SPLITS, reasons(folder), strict=True):
        command = found.partition("with: python")[2]
        subprocess.run(["bash", "-c", sys.executable + command], cwd=folder / split, check=True)
    assert validation.read(folder).equals(before)


@pytest.mark.parametrize(
    "there, named, way_out",
    [
        ("train/Train-1.PNG", "train-1.png", "'train/Train-1.PNG', which differs in letter case"),
        ("train/train-1.png", "TRAIN-1.png", "'train/train-1.png', which differs in letter case"),
        ("train/train-1.jpg", "train-1.png", "there is 'train/train-1.jpg': write 'train-1.jpg'"),
        ("train/a/train-1.png", "train-1.png", "'train/a/train-1.png': write 'a/train-1.png'"),
        ("train-1.png", "train-1.png", "there is 'train-1.png': copy it into train"),
        ("train/x.png", "train/x.png", "file_name is relative to train, so write 'x.png'"),
        ("train/other.png", "train-1.png", ""),
    ],
)
def test_a_picture_that_may_be_meant_is_named(folder, there, named, way_out):
    move(folder, "train/train-1.png", there)
    change(folder, file_name=named)
    [found] = reasons(folder)
    assert f"train/{named} is missing" in found
    assert way_out in found if way_out else found.endswith("is missing")


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_in_another_unicode_form_is_told(folder, forms):
    there, named = (unicodedata.normalize(form, "Zoë.png") for form in forms)
    move(folder, "train/train-1.png", f"train/{there}")
    change(folder, file_name=named)
    [found] = reasons(folder)
    assert "which differs in the Unicode form of its name (NFC, NFD): rename it" in found
    change(folder, file_name=there)
    assert reasons(folder) == []


@pytest.mark.parametrize(
    "head, what",
    [
        (b"RIFF\x10\0\0\0WEBPVP8 ", "a WebP"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "an AVIF"),
        (b"%PDF-1.7", "a PDF"),
        (b"<?xml version='1.0'?><svg/>", "an SVG"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:", "the pointer of Git LFS"),
        (b"\x89PNG\r\n\x1a\n", ""),
        (b"", ""),
        (b"something", ""),
    ],
)
def test_what_a_file_is_instead_of_a_picture(head, what):
    found = instead.of_picture(head)
    assert found.startswith(f", but {what}") if what else found == ""


@pytest.mark.parametrize("form", ["WEBP", "GIF", "TIFF", "BMP", "PDF"])
def test_the_formats_of_other_pictures_are_known(form, tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "x", form)
    assert form.casefold() in instead.of_picture((tmp_path / "x").read_bytes()[:64]).casefold()
