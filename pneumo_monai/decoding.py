"""Pixel Data (7FE0,0010) to the bits that Bits Stored names, whatever the transfer syntax.

One decoder a transfer syntax, so that training and service see the same numbers wherever they run. All are under
licences that suit ours.
"""

import warnings
from typing import Any

import gdcm
import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder

from pneumo_monai.codestreams import Frame, parse_j2k, parse_jpeg
from pneumo_monai.errors import OutOfResources, Reason, Refused
from pneumo_monai.pixel_description import PixelDescription
from pneumo_monai.rle import decode_rle

__all__ = ["DECODERS", "decode"]

DECODERS: dict[str, str] = {
    # Transfer syntax (PS3.5 10, A): plugin of pydicom, none where nothing is compressed.
    uid.ImplicitVRLittleEndian: "",
    uid.ExplicitVRLittleEndian: "",
    uid.DeflatedExplicitVRLittleEndian: "",
    uid.ExplicitVRBigEndian: "",
    uid.RLELossless: "own",
    uid.JPEGBaseline8Bit: "pillow",
    uid.JPEGExtended12Bit: "pillow",  # 8 bit only: 12 bit by GDCM
    uid.JPEGLossless: "gdcm",
    uid.JPEGLosslessSV1: "gdcm",
    uid.JPEGLSLossless: "gdcm",  # pyjpegls computes for many seconds on a few hundred bytes that were cut short
    uid.JPEGLSNearLossless: "gdcm",
    uid.JPEG2000Lossless: "pylibjpeg",
    uid.JPEG2000: "pylibjpeg",
    uid.HTJ2KLossless: "pylibjpeg",
    uid.HTJ2KLosslessRPCL: "pylibjpeg",
    uid.HTJ2K: "pylibjpeg",
}
"""Every transfer syntax that is decoded, and by what. GDCM is called here, our own is `pneumo_monai.rle`."""

_LOSSLESS_PROCESSES = frozenset({0xC3, 0xC7, 0xCB, 0xCF, 0xF7})
"""SOF3, SOF7, SOF11 and SOF15 (ITU-T T.81 table B.1), and SOF55 of JPEG-LS."""

_LOSSY = frozenset({uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000, uid.HTJ2K})


def decode(dataset: Dataset, description: PixelDescription) -> NDArray[np.unsignedinteger[Any]]:
    """Decode one grayscale film to its stored bits.

    Overlay planes or noise above High Bit (0028,0102), and unused bits below, are gone (PS3.5 8.1.1). A lossy
    codestream may overshoot Bits Stored: it is clipped, not wrapped.

    Parameters
    ----------
    dataset : Dataset
        An instance with Pixel Data (7FE0,0010).
    description : PixelDescription
        From `pneumo_monai.pixel_description.check_pixel_description`.

    Returns
    -------
    numpy.ndarray
        Patterns of Bits Stored bits, shape (H, W), uint8 or uint16; two's complement where pixels are signed.

    Raises
    ------
    Refused
        The transfer syntax has no decoder, the codestream is not the film that the header declares, or it cannot be
        decoded.
    OutOfResources
        Memory does not suffice.
    """
    if description.transfer_syntax not in DECODERS:
        raise Refused(Reason.UNDECODABLE, "there is no decoder for the transfer syntax")
    try:
        with warnings.catch_warnings():
            # Real films are tolerated where the decoder can repair them (odd padding, trailing bytes).
            warnings.simplefilter("ignore")
            decoded = _decode(dataset, description)
    except Refused:
        raise
    except MemoryError:
        raise OutOfResources("memory does not suffice to decode a film") from None
    except Exception as error:  # noqa: BLE001 - decoder libraries raise as they please on hostile bytes
        raise Refused(Reason.UNDECODABLE, f"the codestream cannot be decoded ({type(error).__name__})") from None
    if decoded.shape != (description.rows, description.columns) or decoded.dtype.itemsize > 2:
        raise Refused(Reason.UNDECODABLE, f"decoded to {decoded.shape} {decoded.dtype}, the header declares another")
    return _stored_bits(decoded, description)


def _decode(dataset: Dataset, description: PixelDescription) -> NDArray[np.integer[Any]]:
    syntax, encoded, allocated = description.transfer_syntax, dataset.PixelData, description.bits_allocated
    if syntax == uid.RLELossless:
        frame = get_frame(encoded, 0, number_of_frames=1)
        return decode_rle(frame, description.rows, description.columns, allocated // 8)
    if syntax in uid.JPEG2000TransferSyntaxes:
        _check_frame(parse_j2k(get_frame(encoded, 0, number_of_frames=1)), description)
    elif syntax in uid.JPEGTransferSyntaxes or syntax in uid.JPEGLSTransferSyntaxes:
        header, codestream = parse_jpeg(get_frame(encoded, 0, number_of_frames=1))
        _check_frame(header, description)
        _check_process(header, syntax)
        if DECODERS[syntax] == "gdcm" or header.precision > 8:
            return _decode_by_gdcm(codestream, header, syntax)
        allocated = 8
    options: dict[str, Any] = {
        "rows": description.rows,
        "columns": description.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": allocated,
        "bits_stored": min(description.bits_stored, allocated),
        "pixel_representation": int(description.signed),
        "pixel_keyword": "PixelData",
        "pixel_vr": dataset["PixelData"].VR,
        # pydicom's own correction takes High Bit for granted, and wraps what a lossy codestream overshoots.
        "correct_unused_bits": False,
    }
    decoder = get_decoder(syntax)
    decoded, _ = decoder.as_array(encoded, index=0, raw=True, decoding_plugin=DECODERS[syntax], **options)
    return decoded


def _check_frame(frame: Frame, description: PixelDescription) -> None:
    """Check the codestream's own header, before a decoder allocates what it declares."""
    if (frame.rows, frame.columns, frame.components) != (description.rows, description.columns, 1):
        raise Refused(
            Reason.UNDECODABLE,
            f"the codestream holds {frame.rows} x {frame.columns} x {frame.components}, "
            f"the header declares {description.rows} x {description.columns}",
        )
    # GDCM ends the process below 8.
    if not 8 <= frame.precision <= 16:
        raise Refused(Reason.PIXEL_FORMAT, f"the codestream has {frame.precision} bits a sample, 8 to 16 are read")


def _check_process(frame: Frame, syntax: uid.UID) -> None:
    """Refuse what is no lossy JPEG under a transfer syntax of lossy JPEG: GDCM ends the process at it."""
    is_lossy = frame.process not in _LOSSLESS_PROCESSES
    if syntax in {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit} and not (is_lossy and frame.precision <= 12):
        raise Refused(Reason.UNDECODABLE, f"the codestream is not what the transfer syntax names, {syntax.name}")


def _decode_by_gdcm(codestream: bytes, frame: Frame, syntax: uid.UID) -> NDArray[np.unsignedinteger[Any]]:
    """Decode as the codestream declares itself.

    pydicom's plugin goes by the header, which may name fewer bits, and leaves 12 bit JPEG Extended out: GDCM must be
    told of 12 allocated bits there.
    """
    allocated = 8 if frame.precision <= 8 else 12 if syntax == uid.JPEGExtended12Bit else 16
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(codestream)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((frame.columns, frame.rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
    image.SetPixelFormat(gdcm.PixelFormat(1, allocated, frame.precision, frame.precision - 1, 0))
    decoded = image.GetBuffer().encode("utf-8", "surrogateescape")
    return np.frombuffer(decoded, dtype=np.uint8 if allocated == 8 else "<u2").reshape(frame.rows, frame.columns)


def _stored_bits(decoded: NDArray[np.integer[Any]], description: PixelDescription) -> NDArray[np.unsignedinteger[Any]]:
    bits, syntax = description.bits_stored, description.transfer_syntax
    decoded = decoded.astype(decoded.dtype.newbyteorder("="), copy=False)
    if bits > 8 * decoded.dtype.itemsize:
        decoded = decoded.astype(np.int16 if description.signed else np.uint16)
    # JPEG knows no sign: where pixels have one, its decoders return patterns, which have no order to clip by.
    if syntax in _LOSSY and description.signed == np.issubdtype(decoded.dtype, np.signedinteger):
        decoded = np.clip(decoded, *description.range)
    words: NDArray[np.unsignedinteger[Any]] = decoded.view(np.uint8 if decoded.dtype.itemsize == 1 else np.uint16)
    holds_words = syntax == uid.RLELossless or not syntax.is_encapsulated
    if holds_words and (unused := description.high_bit + 1 - bits):
        words = np.right_shift(words, unused)
    if bits < 8 * words.dtype.itemsize:
        words = np.bitwise_and(words, (1 << bits) - 1)
    return words
