"""Objects that point at images: key objects, a presentation state and a segmentation (PS3.3 A.35.4, A.33.1, A.51)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    SegmentationStorage,
)

from fileroom.demo.canvas import Canvas, Grid
from fileroom.demo.chest import nodule_coverage
from fileroom.demo.documents import Referred, evidence
from fileroom.demo.encoding import set_transfer_syntax
from fileroom.demo.modules import (
    Code,
    Series,
    Study,
    add_frame_of_reference,
    ds_text,
    instance_uid,
    reference,
    sequence,
    series_uid,
    start_object,
)
from fileroom.demo.people import WORKSTATION

KEY_OBJECTS: Final = Series("ko", 93, "KO", "Images for the chest board", WORKSTATION, 50)
MARKED: Final = Series("pr", 94, "PR", "Nodule marked", WORKSTATION, 51)
SEGMENTED: Final = Series("seg", 95, "SEG", "Nodule", WORKSTATION, 52)
_LUNG_WINDOW: Final = ("-550", "1500")


def key_objects(study: Study, images: tuple[Referred, ...], comment: str) -> Iterator[Dataset]:
    """A Key Object Selection 'Of Interest' (TID 2010)."""
    ds = start_object(study, KEY_OBJECTS, KeyObjectSelectionDocumentStorage, 1)
    ds.ReferencedPerformedProcedureStepSequence = sequence()
    ds.CurrentRequestedProcedureEvidenceSequence = sequence(evidence(study, images))
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = sequence(Code("113000", "DCM", "Of Interest").item())
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "2010"
    ds.ContentTemplateSequence = sequence(template)
    note = Dataset()
    note.RelationshipType, note.ValueType, note.TextValue = "CONTAINS", "TEXT", comment
    note.ConceptNameCodeSequence = sequence(Code("113012", "DCM", "Key Object Description").item())
    items = [note]
    for series, sop_class, number in images:
        item = Dataset()
        item.RelationshipType, item.ValueType = "CONTAINS", "IMAGE"
        item.ReferencedSOPSequence = sequence(reference(sop_class, instance_uid(study, series, number)))
        items.append(item)
    ds.ContentSequence = sequence(*items)
    set_transfer_syntax(ds, ExplicitVRLittleEndian)
    yield ds


def marked_image(
    study: Study, image: Referred, centre: tuple[float, float], radius: float, side: int, text: str
) -> Iterator[Dataset]:
    """A presentation state: lung window, a circle (pixels: column, row, radius) and a word beside it."""
    ds = start_object(study, MARKED, GrayscaleSoftcopyPresentationStateStorage, 1)
    ds.PresentationCreationDate, ds.PresentationCreationTime = ds.ContentDate, ds.ContentTime
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "NODULE", text, "Reader^Robin"
    series, sop_class, number = image
    shown = reference(sop_class, instance_uid(study, series, number))
    group = Dataset()
    group.SeriesInstanceUID = series_uid(study, series)
    group.ReferencedImageSequence = sequence(shown)
    ds.ReferencedSeriesSequence = sequence(group)
    ds.GraphicLayerSequence = sequence(_layer())
    ds.GraphicAnnotationSequence = sequence(_annotation(shown, centre, radius, text))
    ds.DisplayedAreaSelectionSequence = sequence(_displayed_area(side))
    window = Dataset()
    window.WindowCenter, window.WindowWidth = _LUNG_WINDOW
    ds.SoftcopyVOILUTSequence = sequence(window)
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"
    ds.PresentationLUTShape = "IDENTITY"
    set_transfer_syntax(ds, ExplicitVRLittleEndian)
    yield ds


def nodule_segmentation(
    study: Study, series: Series, slices: tuple[tuple[int, float], ...], grid: Grid, spacing_mm: float
) -> Iterator[Dataset]:
    """A binary segmentation of the nodule on those slices (instance number, z) that it touches."""
    frames = [(number, z, nodule_coverage(Canvas(grid, z, (0.0,))) > 0.5) for number, z in slices]
    frames = [frame for frame in frames if frame[2].any()]
    ds = start_object(study, SEGMENTED, SegmentationStorage, 1)
    add_frame_of_reference(ds, study)
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "NODULE", "Nodule, right upper lobe", "Reader^Robin"
    ds.SegmentationType = "BINARY"
    ds.SegmentSequence = sequence(_segment(study))
    ds.SegmentsOverlap = "NO"
    ds.LossyImageCompression = "00"
    source = Dataset()
    source.SeriesInstanceUID = series_uid(study, series)
    source.ReferencedInstanceSequence = sequence(
        *(reference(CTImageStorage, instance_uid(study, series, number)) for number, _, _ in frames)
    )
    ds.ReferencedSeriesSequence = sequence(source)
    _add_dimensions(ds, study)
    ds.SharedFunctionalGroupsSequence = sequence(_shared_groups(grid, spacing_mm))
    ds.PerFrameFunctionalGroupsSequence = sequence(
        *(_frame_groups(study, series, grid, index, number, z) for index, (number, z, _) in enumerate(frames, start=1))
    )
    ds.NumberOfFrames = str(len(frames))
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = grid.rows, grid.columns
    ds.BitsAllocated = ds.BitsStored = 1
    ds.HighBit = ds.PixelRepresentation = 0
    bits = np.concatenate([mask.reshape(-1) for _, _, mask in frames])
    packed = np.packbits(bits, bitorder="little").tobytes()
    set_transfer_syntax(ds, ExplicitVRLittleEndian)
    ds.PixelData = packed + b"\0" * (len(packed) % 2)
    ds["PixelData"].VR = "OB"
    yield ds


# --- presentation state ---


def _layer() -> Dataset:
    layer = Dataset()
    layer.GraphicLayer, layer.GraphicLayerOrder = "FINDINGS", "1"
    layer.GraphicLayerRecommendedDisplayCIELabValue = [50000, 45000, 55000]
    return layer


def _annotation(shown: Dataset, centre: tuple[float, float], radius: float, text: str) -> Dataset:
    column, row = centre
    circle = Dataset()
    circle.GraphicAnnotationUnits, circle.GraphicDimensions, circle.NumberOfGraphicPoints = "PIXEL", 2, 2
    circle.GraphicType, circle.GraphicFilled = "CIRCLE", "N"
    circle.GraphicData = [column, row, column + radius, row]
    words = Dataset()
    words.AnchorPointAnnotationUnits, words.AnchorPointVisibility = "PIXEL", "Y"
    words.AnchorPoint = [column + radius, row - radius]
    words.UnformattedTextValue = text
    annotation = Dataset()
    annotation.ReferencedImageSequence = sequence(shown)
    annotation.GraphicLayer = "FINDINGS"
    annotation.TextObjectSequence = sequence(words)
    annotation.GraphicObjectSequence = sequence(circle)
    return annotation


def _displayed_area(side: int) -> Dataset:
    area = Dataset()
    area.DisplayedAreaTopLeftHandCorner, area.DisplayedAreaBottomRightHandCorner = [1, 1], [side, side]
    area.PresentationSizeMode, area.PresentationPixelAspectRatio = "SCALE TO FIT", ["1", "1"]
    return area


# --- segmentation ---


def _segment(study: Study) -> Dataset:
    ds = Dataset()
    ds.SegmentNumber, ds.SegmentLabel, ds.SegmentAlgorithmType = 1, "Nodule", "MANUAL"
    ds.SegmentedPropertyCategoryCodeSequence = sequence(
        Code("49755003", "SCT", "Morphologically Abnormal Structure").item()
    )
    ds.SegmentedPropertyTypeCodeSequence = sequence(Code("27925004", "SCT", "Nodule").item())
    ds.RecommendedDisplayCIELabValue = [43803, 53000, 47000]
    ds.TrackingID, ds.TrackingUID = "Nodule 1", study.uid("nodule")
    return ds


def _add_dimensions(ds: Dataset, study: Study) -> None:
    organisation = Dataset()
    organisation.DimensionOrganizationUID = study.uid("dimensions")
    ds.DimensionOrganizationSequence = sequence(organisation)
    indices = []
    for pointer, group in ((0x0062000B, 0x0062000A), (0x00200032, 0x00209113)):
        index = Dataset()
        index.DimensionOrganizationUID = study.uid("dimensions")
        index.DimensionIndexPointer, index.FunctionalGroupPointer = pointer, group
        indices.append(index)
    ds.DimensionIndexSequence = sequence(*indices)


def _shared_groups(grid: Grid, spacing_mm: float) -> Dataset:
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [ds_text(grid.row_mm), ds_text(grid.column_mm)]
    measures.SliceThickness = measures.SpacingBetweenSlices = ds_text(spacing_mm)
    orientation.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    shared.PixelMeasuresSequence = sequence(measures)
    shared.PlaneOrientationSequence = sequence(orientation)
    return shared


def _frame_groups(study: Study, series: Series, grid: Grid, index: int, number: int, z: float) -> Dataset:
    content, position, segment, derivation = (Dataset() for _ in range(4))
    content.DimensionIndexValues = [1, index]
    position.ImagePositionPatient = [ds_text(grid.left_mm), ds_text(grid.top_mm), ds_text(z)]
    segment.ReferencedSegmentNumber = 1
    source = reference(CTImageStorage, instance_uid(study, series, number))
    source.PurposeOfReferenceCodeSequence = sequence(
        Code("121322", "DCM", "Source image for image processing operation").item()
    )
    derivation.DerivationCodeSequence = sequence(Code("113076", "DCM", "Segmentation").item())
    derivation.SourceImageSequence = sequence(source)
    groups = Dataset()
    groups.FrameContentSequence = sequence(content)
    groups.PlanePositionSequence = sequence(position)
    groups.SegmentIdentificationSequence = sequence(segment)
    groups.DerivationImageSequence = sequence(derivation)
    return groups
