"""The report templates that come with Fileroom, by language: a beginning that a department makes its own."""

from __future__ import annotations

from typing import Any, Final

_HEAD_EN: Final = (
    {"heading": "Clinical information", "text": "{Reason}\n{ClinicalInformation}"},
    {"heading": "Comparison", "text": "{PriorStudy}"},
)
_HEAD_DE: Final = (
    {"heading": "Klinische Angaben", "text": "{Reason}\n{ClinicalInformation}"},
    {"heading": "Voraufnahmen", "text": "{PriorStudy}"},
)


def _english(title: str, technique: str, findings: str) -> dict[str, Any]:
    sections = [
        *_HEAD_EN,
        {"heading": "Technique", "text": technique},
        {"heading": "Findings", "text": findings},
        {"heading": "Impression", "text": ""},
    ]
    return {"title": title, "language": "en", "sections": sections}


def _german(title: str, technique: str, findings: str) -> dict[str, Any]:
    sections = [
        *_HEAD_DE,
        {"heading": "Technik", "text": technique},
        {"heading": "Befund", "text": findings},
        {"heading": "Beurteilung", "text": ""},
    ]
    return {"title": title, "language": "de", "sections": sections}


BLANK: Final[dict[str, dict[str, Any]]] = {"en": _english("", "", ""), "de": _german("", "", "")}
"""Headings alone, for a report that is begun without a template."""

STARTERS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "en": {
        "CT chest": {
            "modalities": ["CT"],
            "body_parts": ["CHEST", "THORAX", "LUNG"],
            **_english(
                "CT of the chest",
                "Spiral CT of the chest of {StudyDate}, {StudyDescription}. Intravenous contrast: ",
                "Lungs: no nodule, no consolidation.\nPleura: no effusion, no pneumothorax.\n"
                "Mediastinum and hila: no enlarged lymph nodes.\nHeart and large vessels: normal size.\n"
                "Bones and chest wall: no suspicious lesion.\nUpper abdomen, as far as included: unremarkable.",
            ),
        },
        "CR chest": {
            "modalities": ["CR", "DX"],
            "body_parts": ["CHEST", "THORAX"],
            **_english(
                "Radiograph of the chest",
                "Chest radiograph of {StudyDate}, {StudyDescription}.",
                "Heart and mediastinum: not enlarged.\nLungs: clear, no infiltrate, no congestion.\n"
                "Pleura: no effusion, no pneumothorax.\nBones: no fracture to be seen.\nInstalled material: none.",
            ),
        },
        "MR brain": {
            "modalities": ["MR"],
            "body_parts": ["BRAIN", "HEAD"],
            **_english(
                "MRI of the brain",
                "MRI of the brain of {StudyDate}. Sequences: \nContrast agent: ",
                "Diffusion: no acute ischaemia.\nBrain tissue: signal and volume as expected for age.\n"
                "Ventricles and subarachnoid spaces: normal width, no midline shift.\nNo bleeding, no mass.\n"
                "Large vessels: normal flow signal.\nParanasal sinuses and mastoid cells: clear.",
            ),
        },
        "US abdomen": {
            "modalities": ["US"],
            "body_parts": ["ABDOMEN"],
            **_english(
                "Ultrasound of the abdomen",
                "Ultrasound of the abdomen of {StudyDate}. Conditions: ",
                "Liver: normal size and texture, no focal lesion.\nGallbladder and bile ducts: no stones, not dilated.\n"
                "Pancreas: \nSpleen: normal size.\nKidneys: normal size, no dilatation, no stones.\n"
                "Aorta: not dilated.\nBladder: \nNo free fluid.",
            ),
        },
    },
    "de": {
        "CT Thorax": {
            "modalities": ["CT"],
            "body_parts": ["CHEST", "THORAX", "LUNG"],
            **_german(
                "CT des Thorax",
                "Spiral-CT des Thorax vom {StudyDate}, {StudyDescription}. Kontrastmittel intravenös: ",
                "Lunge: kein Rundherd, keine Verdichtung.\nPleura: kein Erguss, kein Pneumothorax.\n"
                "Mediastinum und Hili: keine vergrößerten Lymphknoten.\nHerz und große Gefäße: normal groß.\n"
                "Skelett und Brustwand: keine verdächtige Läsion.\nOberbauch, soweit erfasst: unauffällig.",
            ),
        },
        "Röntgen Thorax": {
            "modalities": ["CR", "DX"],
            "body_parts": ["CHEST", "THORAX"],
            **_german(
                "Röntgen des Thorax",
                "Thoraxaufnahme vom {StudyDate}, {StudyDescription}.",
                "Herz und Mediastinum: nicht verbreitert.\nLunge: frei, kein Infiltrat, keine Stauung.\n"
                "Pleura: kein Erguss, kein Pneumothorax.\nSkelett: keine Fraktur erkennbar.\nFremdmaterial: keines.",
            ),
        },
        "MRT Schädel": {
            "modalities": ["MR"],
            "body_parts": ["BRAIN", "HEAD", "SCHÄDEL"],
            **_german(
                "MRT des Schädels",
                "MRT des Schädels vom {StudyDate}. Sequenzen: \nKontrastmittel: ",
                "Diffusion: keine frische Ischämie.\nHirngewebe: Signal und Volumen altersentsprechend.\n"
                "Ventrikel und Liquorräume: normal weit, keine Mittellinienverlagerung.\nKeine Blutung, keine Raumforderung.\n"
                "Große Gefäße: normales Flusssignal.\nNasennebenhöhlen und Mastoid: frei belüftet.",
            ),
        },
        "Sonographie Abdomen": {
            "modalities": ["US"],
            "body_parts": ["ABDOMEN"],
            **_german(
                "Sonographie des Abdomens",
                "Sonographie des Abdomens vom {StudyDate}. Untersuchungsbedingungen: ",
                "Leber: normal groß, homogen, kein Herd.\nGallenblase und Gallenwege: keine Steine, nicht erweitert.\n"
                "Pankreas: \nMilz: normal groß.\nNieren: normal groß, kein Stau, keine Steine.\n"
                "Aorta: nicht erweitert.\nHarnblase: \nKeine freie Flüssigkeit.",
            ),
        },
    },
}
