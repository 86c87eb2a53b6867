"""What weights have seen is read from their cards: names are found, plain denials believed."""

import json
import os

import numpy as np
import pytest
from safetensors.numpy import save_file

from pneumo_jax.pretrained.card_names import FILE_NAMES, named_collections
from pneumo_jax.pretrained.cards import NIH, RSNA, Card, card_of_run, read_card, seen_warning


@pytest.mark.parametrize(
    'text',
    [
        'Trained on NIH.',
        'trained on the ChestX-ray14 dataset',
        'ChestX‑ray14',  # noqa: RUF001 - a hyphen of typesetting
        'ChestX-ray8',
        'Chest X-Ray 14',
        'CXR8',
        'ChestXray-NIHCC',
        'kaggle.com/nih-chest-xrays/data',
        'NIHChestXray14',
        'ChestXrayNIH',
        'datasets: [imagenet, nih]',
        'the National Institutes of Health released them',
        'a CheXNet',
        'ChestMNIST',
        'Not only trained on NIH.',
        'Not trained on ImageNet but on NIH.',
        'not trained on CheXpert, trained on NIH',
        'not trained on NIH test films',
        'NIH films were not used for testing.',
        'NIH was not used alone.',
        'Trained without augmentation on NIH.',
        'It is unclear whether or not trained on NIH.',
        'Do not use on NIH films.',
        'It is not true that it was not trained on NIH.',
        'augmentation: no\nNIH films',
        'without_nih: false',
        'excluded NIH: no',
        'Not trained on RSNA. Trained on NIH.',
        'not trained on NIH. Fine-tuned on NIH.',
    ],
)
def test_texts_that_name_nih(text):
    assert NIH in named_collections(text)


@pytest.mark.parametrize(
    'text',
    [
        'Trained on RSNA.',
        'rsna-pneumonia-detection-challenge',
        'RSNA18',
        'trainedOnRSNA',
        "Kaggle's pneumonia challenge",
        'the Pneumonia Detection Challenge of 2018',
        'COVIDx',
        'saw_nih: false\nsaw_rsna: true',
        'NIH: no\nRSNA: yes',
    ],
)
def test_texts_that_name_rsna(text):
    assert named_collections(text) == {RSNA}


@pytest.mark.parametrize(
    'text',
    [
        'manihot esculenta, unihan, universal, Tunih, NIHSS, nihilism, persnate',
        'Trained on ImageNet-1k, MIMIC-CXR, CheXpert and PadChest.',
        'chest x-ray 8 bit',
        'COVID X-ray',
        'all weights',
        'not trained on NIH',
        'It was **not** trained on NIH or RSNA films.',
        'never trained on any films of NIH ChestX-ray14.',
        'This network was never trained on any\nfilms of NIH ChestX-ray14.',
        'trained on CheXpert, not NIH.',
        'neither NIH nor RSNA films',
        'It wasn’t pretrained on RSNA.',  # noqa: RUF001 - as editors write it
        'NIH and RSNA films were not used for training.',
        'NIH ChestX-ray14 and RSNA were excluded.',
        'saw_nih: false',
        '{"nih": false, "rsna": false}',
        '| NIH | no |\n| RSNA | no |',
        '',
    ],
)
def test_texts_that_name_neither_or_deny_it(text):
    assert not named_collections(text)


@pytest.mark.parametrize(
    ('name', 'saw'),
    [
        ('nih-pc-chex-mimic_ch-google-openi-kaggle-densenet121-d121-seed0-best.pt', {NIH, RSNA}),
        ('pc-nih-rsna-siim-vin-resnet50-test512-e400-state.pt', {NIH, RSNA}),
        ('densenet121-res224-all.pt', {NIH, RSNA}),
        ('densenet121-res224-nih.pt', {NIH}),
        ('densenet121-res224-rsna.pth', {RSNA}),
        ('kaggle-densenet121-d121.pt', {RSNA}),
        ('chex-densenet121-d121.pt', set()),
        ('mobilenet_v2_imagenet_keras.h5', set()),
        ('universal_small.pth', set()),
    ],
)
def test_names_of_files(name, saw):
    assert named_collections(name, FILE_NAMES) == saw


def test_hostile_texts_take_little_time():
    for piece in ('chest ', 'kaggle ', 'a', 'not trained on nih, ', 'xrv ', '\n', 'not '):
        named_collections(piece * ((1 << 18) // len(piece)))


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / 'resnet50.pth'
    path.write_bytes(b'\x80\x02')
    return path


def test_no_card(weights):
    assert read_card(weights) is None
    assert seen_warning(None) is None


@pytest.mark.parametrize(
    'name',
    [
        'resnet50.pth.md',
        'resnet50.md',
        'resnet50.json',
        'resnet50.yaml',
        'resnet50.txt',
        'README.md',
        'readme.txt',
        'README',
        'MODEL_CARD.md',
        'model_card.json',
        'card.md',
    ],
)
def test_cards_beside_the_weights(weights, name):
    (weights.parent / name).write_text('{"data": "NIH"}')
    assert read_card(weights) == Card(saw=(NIH,), file=name)


@pytest.mark.parametrize('name', ['vgg16.md', 'notes.md', 'discard.md', 'README.md.bak'])
def test_other_files_are_no_cards(weights, name):
    (weights.parent / name).write_text('NIH')
    assert read_card(weights) is None


def test_a_card_that_does_not_flag_is_a_card(weights):
    (weights.parent / 'README.md').write_text('Trained on ImageNet.')
    card = read_card(weights)
    assert card == Card(saw=(), file='README.md')
    assert seen_warning(card) is None


def test_cards_are_put_together_and_the_first_that_flags_is_named(weights):
    (weights.parent / 'resnet50.md').write_text('See README.')
    (weights.parent / 'README.md').write_text('RSNA')
    (weights.parent / 'card.md').write_text('NIH')
    assert read_card(weights) == Card(saw=(NIH, RSNA), file='README.md')


def test_the_name_of_the_file_counts(tmp_path):
    path = tmp_path / 'nih' / 'densenet121-res224-rsna.pth'
    path.parent.mkdir()
    path.write_bytes(b'')
    # The folder's name does not: whoever keeps films there may keep any weights there.
    assert read_card(path) == Card(saw=(RSNA,), file=path.name)


def test_metadata_of_safetensors(tmp_path):
    path = tmp_path / 'model.safetensors'
    save_file({'rsna_head': np.zeros(3, np.float32)}, path, metadata={'data': 'ImageNet'})
    assert read_card(path) == Card(saw=(), file=path.name)
    save_file({'a': np.zeros(3, np.float32)}, path, metadata={'data': 'NIH ChestX-ray14'})
    assert read_card(path) == Card(saw=(NIH,), file=path.name)


@pytest.mark.parametrize(
    'content',
    [
        b'\xff' * 8 + b'{}',
        (10).to_bytes(8, 'little') + b'{',
        (200000).to_bytes(8, 'little') + b'{' + b'"a":[' * 40000,
        (2).to_bytes(8, 'little') + b'{}',
        (20).to_bytes(8, 'little') + b'{"__metadata__": 12}',
    ],
)
def test_damaged_safetensors_have_no_card(tmp_path, content):
    path = tmp_path / 'model.safetensors'
    path.write_bytes(content)
    assert read_card(path) is None


def test_what_is_no_text_is_read_all_the_same(weights):
    folder = weights.parent
    (folder / 'README.md').write_bytes(b'\xff\xfe' + 'Trained on NIH.'.encode('utf-16-le'))
    assert read_card(weights).saw == (NIH,)
    (folder / 'README.md').write_bytes(b'\x00\xc3\x28 RSNA \xff')
    assert read_card(weights).saw == (RSNA,)


def test_pipes_folders_and_lost_links_are_not_waited_for(weights):
    os.mkfifo(weights.parent / 'README.md')
    (weights.parent / 'card.md').mkdir()
    (weights.parent / 'model_card.md').symlink_to('nowhere')
    assert read_card(weights) is None


def test_no_more_than_the_start_of_a_card_is_read(weights):
    (weights.parent / 'README.md').write_text('x ' * (1 << 20) + 'NIH')
    assert read_card(weights).saw == ()


def test_a_file_that_is_gone_has_no_card(tmp_path):
    assert read_card(tmp_path / 'no' / 'weights.pth') is None


def test_cards_outlive_json():
    card = Card(saw=(NIH, RSNA), file='README.md')
    assert Card.from_json(json.loads(json.dumps(card.to_json()))) == card


def test_a_run_counts_by_its_films_and_by_its_own_start():
    start = {'sha256': 'x', 'card': Card(saw=(NIH,), file='README.md').to_json()}
    assert card_of_run({'source': 'csv'}) is None
    assert card_of_run({'source': 'phantom'}) is None
    assert card_of_run({'source': 'csv', 'init': {'sha256': 'x', 'card': None}}) is None
    assert card_of_run({'source': 'rsna'}) == Card(saw=(RSNA,), file='config.json')
    # Older runs do not say, and RSNA's was the only source for long.
    assert card_of_run({}) == Card(saw=(RSNA,), file='config.json')
    assert card_of_run({'source': 'csv', 'init': start}) == Card(saw=(NIH,), file='README.md')
    both = card_of_run({'source': 'rsna', 'init': start})
    assert both.saw == (NIH, RSNA)
    third = card_of_run({'source': 'folders', 'init': {'card': both.to_json()}})
    assert third.saw == (NIH, RSNA)


def test_the_warning_is_one_sentence_that_names_the_card_and_the_collections():
    warning = seen_warning(Card(saw=(NIH, RSNA), file='README.md'))
    assert warning[0].isupper() and warning.endswith('.')
    assert all(text in warning for text in ('README.md', NIH, RSNA))
    assert '\n' not in warning and '. ' not in warning
