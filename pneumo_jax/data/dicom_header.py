"""The header of a DICOM file: a short list of elements, and nothing of the others."""

from __future__ import annotations

import functools
import io
import math
import zlib
from collections.abc import Sequence
from typing import BinaryIO

from pydicom import Dataset, FileDataset, uid
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import data_element_generator, read_dataset
from pydicom.tag import Tag

from pneumo_jax.data.dicom_scan import ITEM, scan_elements
from pneumo_jax.data.film import FilmError, ReadOptions

__all__ = ['Header', 'read_header']

# No name, no date, no UID. PatientID is compared with the file's name and goes no further.
_TAGS = {
    keyword: Tag(keyword)
    for keyword in (
        'Modality',
        'Manufacturer',
        'PatientID',
        'PatientSex',
        'PatientAge',
        'ViewPosition',
        'ViewCodeSequence',
        'PixelSpacing',
        'ImagerPixelSpacing',
        'SamplesPerPixel',
        'PhotometricInterpretation',
        'PlanarConfiguration',
        'NumberOfFrames',
        'Rows',
        'Columns',
        'BitsAllocated',
        'BitsStored',
        'HighBit',
        'PixelRepresentation',
        'RescaleIntercept',
        'RescaleSlope',
        'ModalityLUTSequence',
        'VOILUTSequence',
        'VOILUTFunction',
        'WindowCenter',
        'WindowWidth',
        'RedPaletteColorLookupTableDescriptor',
        'GreenPaletteColorLookupTableDescriptor',
        'BluePaletteColorLookupTableDescriptor',
        'RedPaletteColorLookupTableData',
        'GreenPaletteColorLookupTableData',
        'BluePaletteColorLookupTableData',
        'SegmentedRedPaletteColorLookupTableData',
        'SegmentedGreenPaletteColorLookupTableData',
        'SegmentedBluePaletteColorLookupTableData',
        'SharedFunctionalGroupsSequence',
        'PerFrameFunctionalGroupsSequence',
        'ExtendedOffsetTable',
        'ExtendedOffsetTableLengths',
        'PixelData',
    )
}
_KNOWN = frozenset(_TAGS.values())
_META_LENGTH = Tag('FileMetaInformationGroupLength')
_TRANSFER_SYNTAX = Tag('TransferSyntaxUID')
_META = (_META_LENGTH, _TRANSFER_SYNTAX)
# By their numbers: tags that are the same object are found fastest.
_WANTED = {int(tag): tag for tag in (*_TAGS.values(), *_META)}
# Behind the preamble and DICM.
_START = 132
_SYNTAXES = {str(syntax): syntax for syntax in uid.AllTransferSyntaxes}
_PLAIN_SYNTAXES = frozenset(
    syntax
    for syntax in uid.AllTransferSyntaxes
    if syntax.is_little_endian and not syntax.is_implicit_VR and not syntax.is_deflated
)
# The grey values of a frame, where they are not those of the file: PS3.3 C.7.6.16.2.9 and .10.
_FRAME_GROUPS = ('PixelValueTransformationSequence', 'FrameVOILUTSequence')
# Where a view has no name, PS3.16 CID 4010: SNOMED CT's codes and those used before.
_VIEWS = {
    **dict.fromkeys(('399348003', 'R-10206'), 'AP'),
    **dict.fromkeys(('272479007', 'R-40888', 'R-10214'), 'PA'),
    **dict.fromkeys(('399067008', 'R-102CD'), 'LATERAL'),
    **dict.fromkeys(('399173006', 'R-10236'), 'LL'),
    **dict.fromkeys(('399198007', 'R-10232'), 'RL'),
}
# Of the largest film at 16 bit, with room for its header.
_MAX_INFLATED_BYTES = 160 * 2**20
# A thousand times those of a film; each takes pydicom a hundred times its own bytes.
_MAX_INFLATED_ITEMS = 100_000


class Header:
    """The elements by which a film is read; one that is missing counts as 0 or empty.

    They are kept as their bytes, and those that every film needs are read from these: pydicom's
    own conversion of a dozen values takes a sixth of the time of decoding a film.

    Args:
        elements: tag -> element, as pydicom reads it.
        meta: the file meta information.

    Raises:
        ValueError and the like: if NumberOfFrames is no number, or the view's code no sequence.
    """

    def __init__(self, elements: dict, meta: dict, syntax: uid.UID):
        self._elements = elements
        self._meta = meta
        self.syntax = syntax
        self._byte_order = 'little' if syntax.is_little_endian else 'big'
        self.rows = self._integer('Rows')
        self.columns = self._integer('Columns')
        # Some writers give 0 where there is one.
        self.frames = int(self.text('NumberOfFrames') or 1) or 1
        self.samples = self._integer('SamplesPerPixel')
        self.bits_allocated = self._integer('BitsAllocated')
        self.bits_stored = self._integer('BitsStored')
        self.high_bit = self._integer('HighBit', self.bits_stored - 1)
        self.signed = bool(self._integer('PixelRepresentation'))
        self.photometric = self.text('PhotometricInterpretation')
        self.view = self.text('ViewPosition').upper() or self._coded_view()

    def __contains__(self, keyword: str) -> bool:
        return _TAGS[keyword] in self._elements

    def text(self, keyword: str) -> str:
        """An element's first value as text, '' absent."""
        return (self._texts(keyword) or ('',))[0]

    def number(self, keyword: str) -> float | None:
        """An element's first value as a number, None where it is absent or empty.

        Raises:
            ValueError: if it is none, or not finite.
        """
        return (self.numbers(keyword) or (None,))[0]

    def numbers(self, keyword: str) -> list[float | None]:
        """An element's values as numbers, None where one is empty.

        Raises:
            ValueError: if one is none, or not finite.
        """
        numbers = [float(text) if text else None for text in self._texts(keyword)]
        if not all(number is None or math.isfinite(number) for number in numbers):
            raise ValueError(f'{keyword} {numbers}')
        return numbers

    def bytes_of(self, keyword: str) -> bytes:
        """An element's value as it stands in the file."""
        return self._elements[_TAGS[keyword]].value

    @functools.cached_property
    def dataset(self) -> FileDataset:
        """What pydicom's decoders and lookup tables take."""
        dataset = FileDataset(
            None,
            dict(self._elements),
            file_meta=FileMetaDataset(self._meta),
            is_implicit_VR=self.syntax.is_implicit_VR,
            is_little_endian=self.syntax.is_little_endian,
        )
        if self.high_bit != self.bits_stored - 1:
            # pydicom keeps the lowest bits, whichever are stored: let it keep all.
            dataset.BitsStored = self.bits_allocated
        if 'PlanarConfiguration' not in self:
            # Some writers of colours leave it out; pydicom then refuses them.
            dataset.PlanarConfiguration = 0
        return dataset

    def _coded_view(self):
        items = self.dataset.ViewCodeSequence if 'ViewCodeSequence' in self else None
        return _VIEWS.get(str(items[0].get('CodeValue')), '') if items else ''

    def _texts(self, keyword) -> Sequence[str]:
        element = self._elements.get(_TAGS[keyword])
        if element is None or element.value is None:
            return ()
        value = element.value
        if isinstance(value, bytes):
            # Not by pydicom, which warns of what breaks a rule, RSNA's ages among them, and quotes
            # it: it may be a patient's.
            value = value.decode('ascii', errors='replace').split('\\')
        elif isinstance(value, str | int | float):
            value = [value]
        return [str(part).strip(' \0') for part in value]

    def _integer(self, keyword, default=0):
        """An element of VR US."""
        element = self._elements.get(_TAGS[keyword])
        if element is None or not element.value:
            return default
        if isinstance(element.value, bytes):
            return int.from_bytes(element.value, self._byte_order)
        return int(element.value)


def read_header(path, source: BinaryIO, options: ReadOptions) -> Header:
    """Reads the elements that films are read by.

    Args:
        path: for error messages.
        source: the file, behind its preamble and DICM; in memory if it is no larger than a film.
        options: whether a deflated file is taken.

    Raises:
        FilmError: damaged, deflated, too_large or unknown_codec.
    """
    try:
        return _read_plain(path, source) or _parse(path, source, options)
    except FilmError:
        raise
    # The parser raises whatever it likes on damaged bytes.
    except Exception as error:
        raise FilmError(
            'damaged', f'{path} is damaged DICOM ({error!r}): copy or export it anew'
        ) from error


def _read_plain(path, source) -> Header | None:
    """The header of a plain film, such as RSNA's; None where pydicom has to look."""
    if not isinstance(source, io.BytesIO):
        return None
    elements = scan_elements(source.getvalue(), _START, _WANTED)
    if elements is None or _TAGS['Rows'] not in elements:
        return None
    meta = {tag: elements.pop(tag) for tag in _META if tag in elements}
    syntax = _transfer_syntax(path, meta)
    return Header(elements, meta, syntax) if syntax in _PLAIN_SYNTAXES else None


def _parse(path, source, options) -> Header:
    """The header of any file."""
    source.seek(_START)
    meta = {
        element.tag: element
        for element in data_element_generator(
            source, False, True, stop_when=lambda tag, vr, length: tag.group != 2
        )
    }
    syntax = _transfer_syntax(path, meta)
    if syntax.is_deflated:
        source = io.BytesIO(_inflate(path, source.read(), options))
    elements = _read_elements(source, syntax)
    _take_frame_groups(elements)
    return Header(elements, meta, syntax)


def _transfer_syntax(path, meta):
    if _TRANSFER_SYNTAX not in meta or _META_LENGTH not in meta:
        raise FilmError(
            'damaged',
            f'{path} does not say how it is encoded (no Transfer Syntax UID in a whole file meta '
            'information): export it anew',
        )
    text = meta[_TRANSFER_SYNTAX].value.decode('ascii', errors='replace').strip(' \0')
    syntax = _SYNTAXES.get(text)
    if syntax is None:
        raise FilmError(
            'unknown_codec',
            f'{path} is encoded by {text[:64]!r}, which is no known transfer syntax: export it '
            'uncompressed',
        )
    return syntax


def _inflate(path, data, options):
    """A deflated file's elements; pydicom itself would make gigabytes of kilobytes."""
    if not options.allow_deflated:
        raise FilmError(
            'deflated',
            f'{path} is deflated as a whole, which is refused; take it with --allow_deflated, or '
            'inflate it with DCMTK\'s "dcmconv +te IN OUT"',
        )
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(data, _MAX_INFLATED_BYTES)
    if inflater.unconsumed_tail or inflated.count(ITEM) > _MAX_INFLATED_ITEMS:
        raise FilmError(
            'too_large',
            f'{path} inflates to more than {_MAX_INFLATED_BYTES} bytes or {_MAX_INFLATED_ITEMS} '
            'items of sequences: no film',
        )
    if not inflater.eof:
        raise FilmError('damaged', f'{path} is deflated and cut: copy or export it anew')
    return inflated


def _read_elements(source, syntax):
    start = source.tell()
    encoding = (syntax.is_implicit_VR, syntax.is_little_endian)
    elements = _known(data_element_generator(source, *encoding))
    if _TAGS['Rows'] in elements:
        return elements
    # Some writers declare explicit VR and write implicit, or the other way round: pydicom guesses.
    source.seek(start)
    dataset = read_dataset(source, *encoding)
    return _known(dataset.get_item(tag) for tag in dataset.keys())  # noqa: SIM118 (it has items)


def _known(elements):
    known = {}
    for element in elements:
        if element.tag in _KNOWN:
            known[element.tag] = element
            # What stands behind the pixels is padding, if not rubbish.
            if element.tag == _TAGS['PixelData']:
                break
    return known


def _take_frame_groups(elements):
    """Brings rescale and window of an enhanced file's first frame to where others have them."""
    for groups in ('SharedFunctionalGroupsSequence', 'PerFrameFunctionalGroupsSequence'):
        element = elements.pop(_TAGS[groups], None)
        items = Dataset({element.tag: element})[element.tag].value if element else []
        for name in _FRAME_GROUPS if items else ():
            for item in items[0].get(name, [])[:1]:
                elements.update(_known(item.get_item(tag) for tag in item.keys()))  # noqa: SIM118
