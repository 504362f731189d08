"""Words and codes that headers use for the chest, for other parts and for views: the gate's literal tables."""

import re
import unicodedata

from pneumo_monai.findings import View

__all__ = [
    "CHEST_CODES",
    "CHEST_WORDS",
    "FRONTAL_WORDS",
    "NOT_FRONTAL_WORDS",
    "OTHER_PART_WORDS",
    "POSTURE_WORDS",
    "VIEW_CODES",
    "VIEW_WORDS",
    "folded",
    "words",
]

_LETTERS = re.compile(r"[^\W\d_]+")
_SPELT_VIEW = re.compile(r"\b([ap])[-/. ]([ap])\b")


def folded(text: str) -> str:
    """Return text without case and accents, so that one entry of a table stands for all its spellings."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def words(text: str) -> frozenset[str]:
    """Return the words of a text, folded; digits and punctuation part them, and ``P-A`` is one word."""
    return frozenset(_LETTERS.findall(_SPELT_VIEW.sub(r"\1\2", folded(text))))


def _table(listed: str) -> frozenset[str]:
    return frozenset(folded(listed).split())


CHEST_WORDS = _table("""
    chest thorax cxr lung lungs pulmonary
    lunge lungen brustkorb poumon poumons torace polmone polmoni torax pulmon pulmones pulmao
    longen borstkas klatka płuca грудная грудной клетка клетки легкие легких огк
""")
"""A chest, in the words of several languages. 'thoracic' is none of them: it goes before 'spine'."""

OTHER_PART_WORDS = _table("""
    tooth teeth dental panoramic orthopantomogram opg bitewing periapical cephalometric zahn zahne gebiss kiefer
    dent dents dentaire panoramique dente denti dentale diente dientes panoramica зуб зубы
    skull brain sinus sinuses orbit orbits mandible maxilla jaw facial neck
    schadel kopf nase hals crane tete cou cranio testa collo craneo cabeza cuello schedel череп голова шея пазухи
    spine cervical lumbar lumbosacral sacrum coccyx hws bws lws wirbelsaule halswirbelsaule brustwirbelsaule
    lendenwirbelsaule rachis lombaire colonna rachide columna lumbosacra wervelkolom позвоночник позвоночника
    abdomen abdominal kub bauch bauchraum ventre addome vientre buik brzuch живот живота
    pelvis pelvic hip hips becken hufte huften bassin hanche bacino anca cadera heup bekken miednica таз таза бедро
    shoulder clavicle scapula schulter schlusselbein epaule clavicule spalla clavicola hombro clavicula schouder плечо
    arm humerus elbow forearm ulna radius wrist hand hands finger fingers thumb oberarm unterarm ellenbogen ellbogen
    handgelenk daumen bras coude poignet doigt pouce gomito polso mano dito codo muneca dedo elleboog pols локоть
    предплечье кисть кисти запястье палец
    leg femur thigh knee knees patella tibia fibula ankle foot feet toe toes heel calcaneus extremity
    oberschenkel unterschenkel knie sprunggelenk fuss ferse zehe genou cheville pied orteil ginocchio caviglia piede
    rodilla tobillo talon enkel voet kolano stopa колено голень стопа стопы
    breast mammography mammogram mammographie mammografia rib ribs ribcage rippen sternum
""")
"""Parts that are no chest. Words that mean something else in another of these languages are left out."""

VIEW_WORDS = {
    "ap": View.AP,
    "anteroposterior": View.AP,
    "anterioposterior": View.AP,
    "pa": View.PA,
    "posteroanterior": View.PA,
    "posterioanterior": View.PA,
}
"""View Position (0018,5101) as real equipment spells its frontal terms."""

FRONTAL_WORDS = _table("frontal front face faccia frente прямая")
"""Frontal, without saying from which side."""

NOT_FRONTAL_WORDS = _table("""
    lat lateral laterale lateralis seitlich seitl profil profilo perfil laterolateral latero dwars zijdelings
    boczne боковая боковой бок ll rl lld rld llo rlo lao rao lpo rpo
    oblique obl oblicua obliqua schrag lordotic decubitus apical axial crosstable swimmer swimmers
""")
"""Views that are not frontal. LL, RL and their kin are the terms of PS3.3 C.8.1.1, and what several languages call
latero-lateral."""

POSTURE_WORDS = _table("""
    erect upright standing sitting seated semi semierect semiupright supine prone recumbent lying dorsal ventral
    stehend sitzend liegend debout assis couche alite bipedestacion de pie sentado supino prono piedi seduto
    bed bedside portable port mobile trolley stretcher wheelchair table wall stand grid bucky
    bett bettaufnahme lit cama letto chevet
    insp inspiration inspiratory exp expiration expiratory inspiracion espiracion
    adult child paediatric pediatric infant baby neonate view views projection single routine
    hfp hfs hfdr hfdl ffdr ffdl ffp ffs lfp lfs rfp rfs afdr afdl pfdr pfdl
""")
"""How the patient stood or lay (the terms of Patient Position (0018,5100), PS3.3 C.7.3.1.1.2, among them) and how the
film was taken: silent about the view."""

CHEST_CODES = frozenset(
    {
        ("816094009", "SCT"),  # Chest (PS3.16 CID 4009)
        ("51185008", "SCT"),  # Thorax, its predecessor
        ("302551006", "SCT"),  # Entire thorax
        ("43799004", "SCT"),  # Thoracic cavity
        ("39607008", "SCT"),  # Lung
        ("T-D3000", "SRT"),
        ("T-D3200", "SRT"),
        ("T-28000", "SRT"),
    }
)
"""Anatomic Region Sequence (0008,2218) of a chest film: PS3.16 CID 4009 and its older codes."""

VIEW_CODES = {
    ("399348003", "SCT"): View.AP,
    ("272479007", "SCT"): View.PA,
    ("399033003", "SCT"): View.NOT_STATED,  # frontal
    ("R-10206", "SRT"): View.AP,
    ("R-10214", "SRT"): View.PA,
    ("R-40888", "SRT"): View.PA,
    ("R-10202", "SRT"): View.NOT_STATED,
}
"""View Code Sequence (0054,0220) of a frontal film: PS3.16 CID 4010 and its older codes."""
